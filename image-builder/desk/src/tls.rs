//! The site's own certificate authority, and the desk's certificate. The authority's certificate is on the cards and in the images, so it
//! lasts for decades. The running desk renews its own certificate before it expires, or when the desk gets other names.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const CA: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
const CERTIFICATE: &str = "server.pem";
const KEY: &str = "server.key";
/// The names that the certificate has, and its end.
const ABOUT: &str = "server.txt";
const DAY: Duration = Duration::from_hours(24);
/// How long a certificate lasts, and how far back its validity begins. It begins in the past because a board's clock may be as far behind
/// as its image is old. The sum stays below the 825 days that Apple's programs accept.
const FUTURE: Duration = DAY.saturating_mul(397);
const PAST: Duration = DAY.saturating_mul(400);

/// The file with the authority's certificate. Cards and images get a copy.
#[must_use]
pub fn authority(folder: &Path) -> PathBuf {
    folder.join(CA)
}

/// Makes the authority and a certificate for these names and addresses.
pub fn make(folder: &Path, names: &[String]) -> Result<()> {
    fs::create_dir(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let params = authority_params()?;
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    write(&folder.join(CA), 0o644, &authority.pem())?;
    write(
        &folder.join(CA_KEY),
        0o600,
        &authority.key().serialize_pem(),
    )?;
    renew(folder, names)
}

fn authority_params() -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "gild desk");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    // A board without a battery starts with an early time, and the flasher never sets its clock to before June 2026.
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2056, 1, 1);
    Ok(params)
}

/// Makes a new certificate with the existing authority, unless the present certificate has these names and is valid for long enough.
pub fn renew(folder: &Path, names: &[String]) -> Result<()> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let about = fs::read_to_string(folder.join(ABOUT)).unwrap_or_default();
    if is_good(&about, names, now) && config(folder).is_ok() {
        return Ok(());
    }
    let text = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    // The authority's certificate has no other parameters than these, so the issuer is complete without reading it.
    let issuer = Issuer::new(authority_params()?, KeyPair::from_pem(&text(CA_KEY)?)?);
    let mut params = CertificateParams::new(names.to_vec())?;
    let name = names.first().context("a certificate needs a name")?;
    params
        .distinguished_name
        .push(DnType::CommonName, name.as_str());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let (begin, end) = (now.saturating_sub(PAST), now + FUTURE);
    let epoch = date_time_ymd(1970, 1, 1);
    (params.not_before, params.not_after) = (epoch + begin, epoch + end);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    // The note is removed first and written last. So if a power cut leaves only one file of the pair, both are made again.
    let about_path = folder.join(ABOUT);
    if about_path.exists() {
        fs::remove_file(&about_path)
            .with_context(|| format!("cannot remove {}", about_path.display()))?;
    }
    for (name, mode, text) in [
        (KEY, 0o600, key.serialize_pem()),
        (CERTIFICATE, 0o644, certificate.pem()),
        (ABOUT, 0o644, about_text(names, end)),
    ] {
        let path = folder.join(name);
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("cannot replace {}", path.display()))?;
        }
        write(&path, mode, &text)?;
    }
    Ok(())
}

/// The text of the note: the names in the certificate, and when it expires, in seconds since 1970.
fn about_text(names: &[String], end: Duration) -> String {
    format!("{}\n{}\n", end.as_secs(), names.join("\n"))
}

fn is_good(about: &str, names: &[String], now: Duration) -> bool {
    let mut lines = about.lines();
    let end = lines.next().and_then(|line| line.parse().ok());
    let end = Duration::from_secs(end.unwrap_or_default());
    end > now + FUTURE / 4 && lines.eq(names)
}

/// The names that a certificate may be for: host names and addresses.
pub fn check_name(name: &str) -> Result<()> {
    let is_host = !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        });
    ensure!(
        is_host || name.parse::<IpAddr>().is_ok(),
        "`{name}` is neither a host name nor an IP address; next: give the name or the address by which boards reach this machine, \
         without a port"
    );
    Ok(())
}

/// How the desk proves that it is the desk.
pub fn config(folder: &Path) -> Result<Arc<ServerConfig>> {
    let (certificate, key) = (folder.join(CERTIFICATE), folder.join(KEY));
    let chain = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read {}", certificate.display()))?;
    ensure!(
        !chain.is_empty(),
        "{} has no certificate",
        certificate.display()
    );
    let key_path = key;
    let key = PrivateKeyDer::from_pem_file(&key_path)
        .with_context(|| format!("cannot read {}", key_path.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| {
            format!(
                "{} and {} do not belong together",
                certificate.display(),
                key_path.display()
            )
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn write(path: &Path, mode: u32, text: &str) -> Result<()> {
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_again_for_other_names_and_before_its_end() {
        let names = ["a".to_owned(), "b".to_owned()];
        let now = Duration::from_hours(500_000);
        let about = about_text(&names, now + FUTURE);
        assert!(is_good(&about, &names, now));
        assert!(is_good(&about, &names, now + FUTURE / 2));
        assert!(!is_good(&about, &names, now + FUTURE / 4 * 3));
        assert!(!is_good(&about, &names[..1], now));
        assert!(!is_good("", &names, now));
    }

    #[test]
    fn half_a_pair_is_made_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("tls");
        let names = ["127.0.0.1".to_owned()];
        make(&folder, &names).expect("made");
        let before = fs::read(folder.join(CERTIFICATE)).expect("a certificate");
        renew(&folder, &names).expect("good");
        assert_eq!(
            fs::read(folder.join(CERTIFICATE)).expect("the same"),
            before
        );
        fs::remove_file(folder.join(KEY)).expect("removed");
        renew(&folder, &names).expect("made again");
        config(&folder).expect("a pair");
    }
}
