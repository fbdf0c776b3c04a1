//! Certificates for the stand-in: a site's own authority, and a server's certificate that it signed.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;

use crate::nginx::Identity;

/// A site's certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Now.
    Now,
    /// Not before the year 2090. To a machine whose clock is behind, a normal certificate looks like this.
    NotYet,
}

impl Authority {
    /// A new authority that differs from every other.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)
            .context("making a certificate authority")?;
        Ok(Self { issuer })
    }

    /// Its certificate, as the golden image carries it.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server at this address and at 127.0.0.1, with a certificate by this authority.
    pub fn server(&self, address: IpAddr, validity: Validity) -> Result<Arc<ServerConfig>> {
        let (certificate, key) = self.sign(address, validity)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )?;
        Ok(Arc::new(config))
    }

    /// The certificate and the key of such a server, for a program that reads files.
    pub fn identity(&self, address: IpAddr, validity: Validity) -> Result<Identity> {
        let (certificate, key) = self.sign(address, validity)?;
        Ok(Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    fn sign(&self, address: IpAddr, validity: Validity) -> Result<(Certificate, KeyPair)> {
        let names = vec![address.to_string(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names)?;
        params.not_before = match validity {
            Validity::Now => date_time_ymd(2020, 1, 1),
            Validity::NotYet => date_time_ymd(2090, 1, 1),
        };
        let key = KeyPair::generate()?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .context("signing a server's certificate")?;
        Ok((certificate, key))
    }
}
