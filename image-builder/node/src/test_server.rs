//! A TLS server for the tests of this crate.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use reqwest::Url;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A certificate authority, unlike any other.
pub fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

/// One that another one has signed.
pub fn authority_by(root: &CertifiedIssuer<'static, KeyPair>) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "between");
    CertifiedIssuer::signed_by(params, KeyPair::generate().expect("a key"), root)
        .expect("an authority")
}

/// A server with a certificate by this authority that is valid from this year on, on a port of this machine. It gives one answer to
/// a request, and hangs up.
pub fn serve(
    authority: &CertifiedIssuer<'static, KeyPair>,
    from: i32,
    answer: impl Fn(&str) -> String + Send + 'static,
) -> Url {
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
            let mut request = [0; 2048];
            let length = stream.read(&mut request).unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..length]);
            let _ = stream.write_all(answer(&request).as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    Url::parse(&format!("https://127.0.0.1:{port}/")).expect("a URL")
}
