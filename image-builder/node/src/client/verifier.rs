//! Verifies servers as k3s' agent does: not at all while it fetches the authority, and then by that authority, under one name.

use std::net::Ipv4Addr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Accepts a server that has the key of its certificate, if the cluster's authority signed the certificate.
#[derive(Debug)]
pub struct OfCluster {
    algorithms: WebPkiSupportedAlgorithms,
    /// If there is none, every certificate is accepted.
    authority: Option<Authority>,
}

#[derive(Debug)]
struct Authority {
    verifier: Arc<WebPkiServerVerifier>,
    /// Certificates that may stand between an authority and a server.
    bundle: Vec<CertificateDer<'static>>,
}

impl OfCluster {
    /// Accepts any server.
    pub fn not_known_yet() -> Self {
        Self {
            algorithms: ring::default_provider().signature_verification_algorithms,
            authority: None,
        }
    }

    /// Accepts servers of these authorities under the name 127.0.0.1, which the certificates of k3s' servers have.
    pub fn of(
        roots: RootCertStore,
        bundle: Vec<CertificateDer<'static>>,
    ) -> Result<Self, VerifierBuilderError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.build()?;
        Ok(Self {
            authority: Some(Authority { verifier, bundle }),
            ..Self::not_known_yet()
        })
    }
}

impl ServerCertVerifier for OfCluster {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(Authority { verifier, bundle }) = &self.authority else {
            return Ok(ServerCertVerified::assertion());
        };
        let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
        let intermediates: Vec<_> = intermediates.iter().chain(bundle).cloned().collect();
        verifier.verify_server_cert(end_entity, &intermediates, &name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
