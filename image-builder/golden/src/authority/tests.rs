use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::UnixTime;

use rustls::pki_types::pem::PemObject;

use super::*;

const HOST: &str = "matchbox.site.example";

/// What the certificate is for, its names and its common name.
fn params(is_ca: IsCa, names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.is_ca = is_ca;
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

fn self_signed(params: &CertificateParams) -> String {
    let key = KeyPair::generate().expect("a key");
    params.self_signed(&key).expect("a certificate").pem()
}

fn verdict(pem: &str, host: &str) -> Option<NoAuthority> {
    check(pem.as_bytes(), host).err()
}

/// Whether a node that trusts this authority takes this server for the host.
fn is_taken(authority: &str, server: &str, host: &str) -> bool {
    let roots = gild_node::client::authorities(authority.as_bytes()).expect("a certificate");
    let server = CertificateDer::from_pem_slice(server.as_bytes()).expect("a certificate");
    let server = ParsedCertificate::try_from(&server).expect("a certificate");
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let name = ServerName::try_from(host.trim_matches(['[', ']'])).expect("a name");
    verify_server_cert_signed_by_trust_anchor(&server, &roots, &[], UnixTime::now(), algorithms.all)
        .and_then(|()| verify_server_name(&server, &name))
        .is_ok()
}

const AUTHORITY: IsCa = IsCa::Ca(BasicConstraints::Unconstrained);

#[test]
fn an_authority_is_one_whatever_else_is_in_the_file() {
    let authority = self_signed(&params(AUTHORITY, &[], "our authority"));
    let limited = IsCa::Ca(BasicConstraints::Constrained(0));
    let limited = self_signed(&params(limited, &["ca.example"], "our authority"));
    let server = self_signed(&params(IsCa::NoCa, &[HOST], HOST));
    for pem in [
        &authority,
        &limited,
        &format!("{server}{authority}"),
        &format!("{authority}{server}"),
    ] {
        assert_eq!(verdict(pem, HOST), None, "{pem}");
    }
}

#[test]
fn a_server_s_own_certificate_is_known_though_it_is_marked_as_an_authority_s() {
    // As `openssl req -x509` makes it, with names and without.
    for (names, common_name, host) in [
        (&[HOST][..], "x", HOST),
        (&["*.site.example"], "x", HOST),
        (&["10.0.0.1"], "x", "10.0.0.1"),
        (&["fd00::1"], "x", "[fd00::1]"),
        (&[], "Matchbox.Site.Example", HOST),
        (&[], "10.0.0.1", "10.0.0.1"),
    ] {
        let pem = self_signed(&params(AUTHORITY, names, common_name));
        assert_eq!(verdict(&pem, host), Some(NoAuthority::NamesTheHost));
        assert!(!is_taken(&pem, &pem, host), "{names:?}");
    }
    // The same mark, signed by another.
    let key = || KeyPair::generate().expect("a key");
    let issuer = Issuer::new(params(AUTHORITY, &[], "our authority"), key());
    let server = params(AUTHORITY, &[], HOST).signed_by(&key(), &issuer);
    let server = server.expect("a certificate").pem();
    assert_eq!(verdict(&server, HOST), Some(NoAuthority::NamesTheHost));
}

/// As `openssl x509 -req -signkey` made them before OpenSSL 3.2.
#[test]
fn a_certificate_of_the_oldest_form_is_known_by_its_one_name() {
    let server = include_str!("version-1-server.pem");
    assert_eq!(verdict(server, HOST), Some(NoAuthority::NamesTheHost));
    let authority = include_str!("version-1-authority.pem");
    assert_eq!(verdict(authority, HOST), None);
    gild_node::client::authorities(authority.as_bytes()).expect("a node takes it");
}

#[test]
fn a_certificate_that_signs_no_other_is_no_authority_s() {
    for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        let pem = self_signed(&params(is_ca, &[HOST], HOST));
        assert_eq!(verdict(&pem, HOST), Some(NoAuthority::SignsNothing));
        let next = self_signed(&params(is_ca, &[HOST], HOST));
        assert!(!is_taken(&pem, &next, HOST), "the next one");
    }
    let key = || KeyPair::generate().expect("a key");
    let issuer = Issuer::new(params(AUTHORITY, &[], "our authority"), key());
    let server = params(IsCa::NoCa, &[HOST], HOST).signed_by(&key(), &issuer);
    let server = server.expect("a certificate").pem();
    assert_eq!(verdict(&server, HOST), Some(NoAuthority::SignsNothing));
    assert!(!is_taken(&server, &server, HOST));
}

/// The commands that the error shows, as a shell runs them.
#[test]
fn what_the_error_says_makes_an_authority_and_a_server_that_nodes_take() {
    for host in [HOST, "10.0.0.1", "[fd00::1]"] {
        let folder = tempfile::tempdir().expect("a folder");
        let how = how_to(host);
        let commands: Vec<&str> = how.lines().skip(1).collect();
        let ran = Command::new("sh")
            .args(["-ec", &commands.join("\n")])
            .current_dir(folder.path())
            .output()
            .expect("a shell");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "run `make setup`: {how}: {said}");
        let read =
            |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a certificate");
        let (authority, server) = (read("ca.pem"), read("server.pem"));
        assert_eq!(verdict(&authority, host), None);
        assert!(is_taken(&authority, &server, host), "{host}");
    }
}

#[test]
fn the_page_shows_the_same_commands() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/first-boot.md");
    let page = std::fs::read_to_string(page).expect("docs/first-boot.md");
    for line in how_to("matchbox.example").lines().skip(1) {
        assert!(page.contains(&format!("{}\n", line.trim())), "{line}");
    }
}
