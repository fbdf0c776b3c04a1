//! The site's own certificate authority, and the desk's certificate. The authority's certificate is on the cards and in the images, so it
//! lasts for decades. The running desk renews its own certificate before it expires, or when the desk gets other names.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use log::warn;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const CA: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
/// The desk's key and its certificate, below a note about it. They are one file, so that no power cut and no full disk leaves half of them.
const SERVER: &str = "server.key";
const BEGIN: &str = "-----BEGIN ";
const DAY: Duration = Duration::from_hours(24);
/// The authority's validity begins on 1 January 2026. A board without a battery starts with an early time, and the flasher never sets its
/// clock to before June 2026.
const AUTHORITY_YEAR: i32 = 2026;
/// Apple's programs refuse a certificate that is valid for more than 825 days, also if the user has added its authority. Boards and nodes do not
/// look at that.
const LONGEST: Duration = DAY.saturating_mul(824);
/// A certificate ends this long after it was made. The shorter that is, the earlier it can begin, for boards whose clock is behind.
const FUTURE: Duration = DAY.saturating_mul(100);
/// The desk makes it again when less than this is left, so that an operator has weeks if that fails.
const LEFT: Duration = DAY.saturating_mul(50);

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
    params.not_before = date_time_ymd(AUTHORITY_YEAR, 1, 1);
    params.not_after = date_time_ymd(2056, 1, 1);
    Ok(params)
}

/// Makes a new certificate with the existing authority, unless the present certificate has these names and is valid for long enough. If that
/// fails, the present certificate stays.
fn renew(folder: &Path, names: &[String]) -> Result<()> {
    let now = now();
    if Note::read(folder).is_good(names, now) && config(folder).is_ok() {
        return Ok(());
    }
    make_again(folder, names, now).map_err(|error| {
        anyhow!(
            "cannot make the desk's certificate: {error:#}; next: let the user of this program read {} and write to that folder, and look \
             whether the disk is full",
            folder.join(CA_KEY).display()
        )
    })
}

/// Renews the certificate if need be. If that fails, the desk serves on with a good one.
pub fn ready(folder: &Path, names: &[String]) -> Result<Arc<ServerConfig>> {
    let Err(error) = renew(folder, names) else {
        return config(folder);
    };
    let (note, now) = (Note::read(folder), now());
    match config(folder) {
        Ok(present) if note.is_for(names) && note.end > now => {
            let days = note.end.saturating_sub(now).as_secs() / DAY.as_secs();
            warn!("the present certificate ends in {days} days: {error:#}");
            Ok(present)
        }
        _ => Err(error),
    }
}

fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

fn make_again(folder: &Path, names: &[String], now: Duration) -> Result<()> {
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
    let end = now + FUTURE;
    params.not_after = date_time_ymd(1970, 1, 1) + end;
    // Before the authority begins, no certificate of it counts.
    let earliest = date_time_ymd(AUTHORITY_YEAR, 1, 1);
    params.not_before = earliest.max(params.not_after - LONGEST);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    let note = Note {
        end,
        names: names.to_vec(),
    };
    let text = format!("{note}{}{}", key.serialize_pem(), certificate.pem());
    let path = folder.join(SERVER);
    gild_whole_file::replace_secret_with(&path, |file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// What is known of a certificate without looking into it: when it ends, since 1970, and the names that it has.
#[derive(Default)]
struct Note {
    end: Duration,
    names: Vec<String>,
}

impl Note {
    /// The note above the certificate. If there is none, it is not known to be good.
    fn read(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join(SERVER)).unwrap_or_default();
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.lines().take_while(|line| !line.starts_with(BEGIN));
        let end = lines.next().and_then(|line| line.parse().ok());
        Self {
            end: Duration::from_secs(end.unwrap_or_default()),
            names: lines.map(str::to_owned).collect(),
        }
    }

    fn is_for(&self, names: &[String]) -> bool {
        self.names == names
    }

    fn is_good(&self, names: &[String], now: Duration) -> bool {
        // One that was made while the clock was far ahead has not begun yet. One that only ends late is good: the clock may be behind now.
        let is_of_now = self.end > now + LEFT && self.end.saturating_sub(LONGEST) <= now;
        self.is_for(names) && is_of_now
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.end.as_secs())?;
        self.names.iter().try_for_each(|name| writeln!(f, "{name}"))
    }
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
    let path = folder.join(SERVER);
    let failed = || format!("cannot read {}", path.display());
    let text = fs::read(&path).with_context(failed)?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .with_context(failed)?;
    ensure!(!chain.is_empty(), "{} has no certificate", path.display());
    let key = PrivateKeyDer::from_pem_slice(&text).with_context(failed)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| {
            format!(
                "the key and the certificate in {} do not belong together",
                path.display()
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
    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{ServerName, UnixTime};

    use super::*;

    #[test]
    fn a_certificate_is_made_again_for_other_names_and_before_its_end() {
        let names = ["a".to_owned(), "b".to_owned()];
        let now = Duration::from_hours(500_000);
        let end = now + FUTURE;
        let note = Note {
            end,
            names: names.to_vec(),
        };
        let note = Note::parse(&format!("{note}{BEGIN}A-----\nb\n"));
        assert!(note.is_good(&names, now));
        assert!(note.is_good(&names, now + FUTURE.saturating_sub(LEFT + DAY)));
        assert!(!note.is_good(&names, now + FUTURE.saturating_sub(LEFT)));
        let behind = now.saturating_sub(DAY * 200);
        assert!(note.is_good(&names, behind), "the clock is behind");
        let early = end.saturating_sub(LONGEST + DAY);
        assert!(!note.is_good(&names, early), "the clock was far ahead");
        assert!(!note.is_good(&names[..1], now));
        assert!(!Note::parse("").is_good(&[], now));
    }

    const NAME: &str = "127.0.0.1";

    /// A folder with an authority and a certificate for `NAME`.
    fn made() -> (tempfile::TempDir, PathBuf) {
        let above = tempfile::tempdir().expect("a folder");
        let folder = above.path().join("tls");
        make(&folder, &[NAME.to_owned()]).expect("made");
        (above, folder)
    }

    fn pair(folder: &Path) -> String {
        fs::read_to_string(folder.join(SERVER)).expect("a key and a certificate")
    }

    /// Writes that the certificate ends in so many days.
    fn ends_in(folder: &Path, days: u32) {
        let text = pair(folder);
        let (_, rest) = text.split_once('\n').expect("a line");
        let end = (now() + DAY * days).as_secs();
        fs::write(folder.join(SERVER), format!("{end}\n{rest}")).expect("written");
    }

    /// Whether a client of this authority takes the certificate at this time.
    fn counts(folder: &Path, at: Duration) -> bool {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(authority(folder)).expect("an authority");
        roots.add(authority).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let certificate =
            CertificateDer::from_pem_file(folder.join(SERVER)).expect("a certificate");
        let name = ServerName::try_from(NAME).expect("a name");
        let at = UnixTime::since_unix_epoch(at);
        let client = client.build().expect("a client");
        client
            .verify_server_cert(&certificate, &[], &name, &[], at)
            .is_ok()
    }

    #[test]
    fn a_board_that_starts_in_june_2026_takes_the_certificate_for_two_years() {
        let (_above, folder) = made();
        // The agent sets a clock that is behind to this time, if its network gives it none.
        let floor = DAY * 20_605;
        for (days, by_the_board) in [
            (0, true),
            (400, true),
            (720, true),
            (730, false),
            (5000, false),
        ] {
            let now = floor + DAY * days;
            make_again(&folder, &[NAME.to_owned()], now).expect("made");
            let end = Note::read(&folder).end;
            assert_eq!(counts(&folder, floor), by_the_board, "{days}");
            assert!(
                counts(&folder, now) && counts(&folder, end.saturating_sub(DAY)),
                "{days}"
            );
            assert!(!counts(&folder, end + DAY), "{days}");
            assert!(
                !counts(&folder, end.saturating_sub(DAY * 825)),
                "Apple's programs refuse it: {days}"
            );
        }
    }

    #[test]
    fn a_certificate_that_is_good_stays_and_a_damaged_one_is_made_again() {
        let (_above, folder) = made();
        let names = [NAME.to_owned()];
        let before = pair(&folder);
        renew(&folder, &names).expect("good");
        assert_eq!(pair(&folder), before);
        let half = &before[..before.len() / 2];
        for damaged in [half, ""] {
            fs::write(folder.join(SERVER), damaged).expect("written");
            ready(&folder, &names).expect("made again");
            assert_ne!(pair(&folder), damaged);
        }
        fs::remove_file(folder.join(SERVER)).expect("removed");
        ready(&folder, &names).expect("made again");
        assert_eq!(
            fs::read_dir(&folder).expect("a folder").count(),
            3,
            "nothing is left beside them"
        );
    }

    #[test]
    fn a_desk_whose_certificate_cannot_be_renewed_serves_with_the_present_one_until_its_end() {
        let (_above, folder) = made();
        let names = [NAME.to_owned()];
        fs::rename(folder.join(CA_KEY), folder.join("elsewhere")).expect("moved");
        ends_in(&folder, 7);
        let before = pair(&folder);
        let error = renew(&folder, &names).expect_err("the authority's key is not there");
        let text = format!("{error:#}");
        assert!(
            text.contains("ca.key") && text.contains("; next: "),
            "{text}"
        );
        ready(&folder, &names).expect("the present one is good");
        assert_eq!(pair(&folder), before);
        ready(&folder, &["other".to_owned()]).expect_err("it has another name");
        ends_in(&folder, 0);
        ready(&folder, &names).expect_err("it has ended");
        fs::rename(folder.join("elsewhere"), folder.join(CA_KEY)).expect("moved");
        ready(&folder, &names).expect("made again");
        assert!(Note::read(&folder).is_good(&names, now()));
    }
}
