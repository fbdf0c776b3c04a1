//! A verifier that sees which certificates expire soon. It trusts exactly what the agent's verifier trusts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// A certificate that ends within this time is one to renew.
pub const SOON: Duration = Duration::from_hours(30 * 24);

/// Verifies, and looks whether the same chain is good a while later.
#[derive(Debug)]
pub struct Foresight {
    verifier: Arc<WebPkiServerVerifier>,
    ends: Mutex<Option<Ends>>,
}

/// A certificate of the chain ends soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Seconds since 1970, if it is the verifier's to say.
    pub at: Option<u64>,
}

impl Foresight {
    /// Believes these authorities.
    pub fn new(roots: Arc<RootCertStore>) -> Result<Self, VerifierBuilderError> {
        let provider = Arc::new(ring::default_provider());
        Ok(Self {
            verifier: WebPkiServerVerifier::builder_with_provider(roots, provider).build()?,
            ends: Mutex::new(None),
        })
    }

    /// Whether a certificate that was seen ends soon.
    pub fn ends(&self) -> Option<Ends> {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Foresight {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |time| {
            self.verifier
                .verify_server_cert(end_entity, intermediates, name, ocsp, time)
        };
        let is_good = verify(now)?;
        let later = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + SOON);
        let at = match verify(later) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after, ..
            })) => Some(Some(not_after.as_secs())),
            Err(Error::InvalidCertificate(CertificateError::Expired)) => Some(None),
            _ => None,
        };
        if let Some(at) = at {
            *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = Some(Ends { at });
        }
        Ok(is_good)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd,
    };

    use super::*;

    /// 2027-01-15.
    const NOW: Duration = Duration::from_hours(500_000);

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        CertifiedIssuer::self_signed(params, key).expect("an authority")
    }

    /// Whether a certificate that ends on this day is good, and the text about its end.
    fn verified((year, month, day): (i32, u8, u8), is_known: bool) -> (bool, Option<Ends>) {
        let signer = authority();
        let mut roots = RootCertStore::empty();
        let root = if is_known {
            signer.der().clone()
        } else {
            authority().der().clone()
        };
        roots.add(root).expect("a root");
        let foresight = Foresight::new(Arc::new(roots)).expect("a verifier");
        let mut params = CertificateParams::new(vec!["a.lan".to_owned()]).expect("parameters");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, month, day);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &signer).expect("a certificate");
        let name = ServerName::try_from("a.lan").expect("a name");
        let now = UnixTime::since_unix_epoch(NOW);
        let verified = foresight.verify_server_cert(certificate.der(), &[], &name, &[], now);
        (verified.is_ok(), foresight.ends())
    }

    #[test]
    fn a_certificate_that_ends_within_thirty_days_is_good_and_said_to_end() {
        assert_eq!(verified((2027, 2, 16), true), (true, None));
        let (is_good, ends) = verified((2027, 2, 13), true);
        let day = ends.and_then(|ends| ends.at);
        assert_eq!((is_good, day), (true, Some(1_802_476_800)));
    }

    #[test]
    fn a_certificate_that_has_ended_or_is_by_somebody_else_is_refused() {
        assert_eq!(verified((2027, 1, 14), true), (false, None));
        assert_eq!(verified((2027, 2, 13), false), (false, None));
    }
}
