use gild_http_testkit::Reply;
use rcgen::{CertifiedIssuer, KeyPair};

use super::*;
use crate::test_server::{authority, serve};

/// A server with a certificate by this authority that is valid from this year on, on a port of this machine.
fn server(authority: &CertifiedIssuer<'static, KeyPair>, from: i32) -> Url {
    let server = serve(authority, from, |_| Reply::new(200, "ok"));
    Url::parse(&server.url()).expect("a URL")
}

fn get(url: &Url, ca: Option<&CertifiedIssuer<'static, KeyPair>>) -> Result<String, FetchError> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    if let Some(ca) = ca {
        std::fs::write(file.path(), ca.pem()).expect("an authority's certificate");
    }
    Client::new(ca.map(|_| file.path()))
        .expect("a client")
        .get(url, Duration::from_secs(15))
}

#[test]
fn only_the_authority_in_the_image_is_believed() {
    let ours = authority();
    let url = server(&ours, 2020);
    assert_eq!(get(&url, Some(&ours)).expect("an answer"), "ok");
    for other in [Some(&authority()), None] {
        let error = get(&url, other).expect_err("a stranger");
        assert!(matches!(error, FetchError::Certificate(_)), "{error:?}");
        assert!(
            error.to_string().contains("refused: it is not signed by "),
            "{error}"
        );
    }
}

#[test]
fn a_certificate_from_the_future_is_told_from_a_bad_one() {
    let ours = authority();
    let error = get(&server(&ours, 2090), Some(&ours)).expect_err("too early");
    assert!(matches!(error, FetchError::NotValidYet), "{error:?}");
}

#[test]
fn another_port_is_another_server() {
    let url = |text| Url::parse(text).expect("a URL");
    let first = url("https://a:8443/metadata");
    assert!(is_same_server(&first, &url("https://a:8443/x")));
    for other in ["https://a/x", "http://a:8443/x", "https://b:8443/x"] {
        assert!(!is_same_server(&first, &url(other)), "{other}");
    }
}

#[test]
fn an_authority_that_is_none_is_said_at_once() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let error = Client::new(Some(file.path())).err().expect("no authority");
    assert!(error.to_string().contains("no certificate"), "{error}");
    let error = Client::new(Some(Path::new("/nowhere/ca.pem")))
        .err()
        .expect("no file");
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
}
