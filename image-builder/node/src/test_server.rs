//! A TLS server for the tests of this crate.

use std::net::TcpListener;
use std::sync::Arc;

use gild_http_testkit::{Reply, Request, Server};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;

/// A certificate authority that differs from every other.
pub fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

/// A certificate authority that another one has signed.
pub fn authority_by(root: &CertifiedIssuer<'static, KeyPair>) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "between");
    CertifiedIssuer::signed_by(params, KeyPair::generate().expect("a key"), root)
        .expect("an authority")
}

/// A server with a certificate by this authority that is valid from this year on, on a port of this machine.
pub fn serve(
    authority: &CertifiedIssuer<'static, KeyPair>,
    from: i32,
    answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Server {
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
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    Server::serve(listener, Some(Arc::new(config)), answer)
}
