use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

/// A server with a certificate by this authority that is valid from this year on, on a port of this machine.
fn server(authority: &CertifiedIssuer<'static, KeyPair>, from: i32) -> Url {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    params.not_before = date_time_ymd(from, 1, 1);
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .expect("a server");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(config.clone()).expect("a connection");
            let mut stream = StreamOwned::new(connection, stream.expect("a client"));
            // A client that does not like the certificate hangs up.
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            let _ = stream.flush();
        }
    });
    Url::parse(&format!("https://127.0.0.1:{port}/")).expect("a URL")
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
        assert!(matches!(error, FetchError::Request(_)), "{error:?}");
        assert!(
            error.to_string().contains("invalid peer certificate"),
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
