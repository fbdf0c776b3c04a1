//! Why a server's certificate was refused, in words.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use httpdate::fmt_http_date;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;

/// A server's certificate was refused.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedCertificate(CertificateError);

impl RefusedCertificate {
    /// Finds it behind the error of a request, if that is what went wrong.
    #[must_use]
    pub fn behind(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(rustls::Error::InvalidCertificate(reason)) = error.downcast_ref() {
                return Some(Self(reason.clone()));
            }
            // `source` of an I/O error skips the error that it was made of.
            let inner = error.downcast_ref().and_then(io::Error::get_ref);
            next = match inner {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        None
    }

    /// Whether it begins in what this machine takes for the future.
    #[must_use]
    pub fn is_not_valid_yet(&self) -> bool {
        matches!(
            self.0,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }
        )
    }

    /// What the operator can do about it. `place` is where this reader is given the certificate of a site's own authority.
    #[must_use]
    pub fn next_step(&self, place: &str) -> String {
        let step = match self.0 {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                return format!(
                    "if its authority is the site's own, give that one's certificate ({place}); if that is given, have the server \
                     send its intermediate certificate too"
                );
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "renew it, or check the clock: name a time server by `network.ntp`"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "check the clock: name a time server by `network.ntp`"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "use a name that is in the certificate"
            }
            _ => "check it with openssl s_client",
        };
        step.to_owned()
    }
}

impl fmt::Display for RefusedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            // rustls has only names for these, and sentences for the others.
            CertificateError::UnknownIssuer => {
                f.write_str("it is not signed by an authority that is known here")
            }
            // Two authorities of one name.
            CertificateError::BadSignature => {
                f.write_str("it is not signed by the authority of that name that is known here")
            }
            CertificateError::Expired => f.write_str("it has expired"),
            CertificateError::ExpiredContext { time, not_after } => write!(
                f,
                "it has expired: it was good until {}, and it is {} here",
                date(*not_after),
                date(*time)
            ),
            CertificateError::NotValidYet => f.write_str("it is not valid yet"),
            CertificateError::NotValidYetContext { time, not_before } => write!(
                f,
                "it is not valid yet: it is good from {}, and it is {} here",
                date(*not_before),
                date(*time)
            ),
            CertificateError::NotValidForName => f.write_str("it is for another name"),
            // A sentence with the names.
            error @ CertificateError::NotValidForNameContext { .. } => error.fmt(f),
            CertificateError::BadEncoding => f.write_str("it cannot be read"),
            CertificateError::UnhandledCriticalExtension => {
                f.write_str("it has a critical extension that is not known here")
            }
            CertificateError::Revoked => f.write_str("it has been revoked"),
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                f.write_str("it is not for servers")
            }
            // The rest has bytes in it.
            error => f.write_str(of_signature(error)),
        }
    }
}

/// A time as web servers write it.
fn date(time: UnixTime) -> String {
    fmt_http_date(UNIX_EPOCH + Duration::from_secs(time.as_secs()))
}

fn of_signature(error: &CertificateError) -> &'static str {
    let name = format!("{error:?}");
    if name.starts_with("UnsupportedSignatureAlgorithm") {
        "it, or a certificate between it and its authority, is signed in a way that is not known here: RSA (PKCS #1), Ed25519, and ECDSA \
         of P-256 with SHA-256 and of P-384 with SHA-384 are"
    } else {
        "it does not follow the rules for certificates of servers"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: &str = "`ca`";

    fn refused(error: CertificateError) -> RefusedCertificate {
        // As it comes out of a connection: inside an I/O error, inside another one.
        let error = io::Error::other(rustls::Error::InvalidCertificate(error));
        RefusedCertificate::behind(&io::Error::other(error)).expect("a refusal")
    }

    #[test]
    fn an_authority_that_is_not_known_is_said_in_words_with_where_to_name_it() {
        let refused = refused(CertificateError::UnknownIssuer);
        let why = "it is not signed by an authority that is known here";
        assert_eq!(refused.to_string(), why);
        assert!(
            refused
                .next_step(PLACE)
                .contains("give that one's certificate (`ca`)")
        );
    }

    #[test]
    fn no_reason_is_the_name_of_a_constant() {
        for error in [
            CertificateError::UnknownIssuer,
            CertificateError::BadSignature,
            CertificateError::Expired,
            CertificateError::NotValidYet,
            CertificateError::NotValidForName,
        ] {
            let name = format!("{error:?}");
            let refused = refused(error);
            assert!(!refused.to_string().contains(&name), "{refused}");
            let next = refused.next_step(PLACE);
            assert!(!next.contains("openssl") && !next.is_empty(), "{next}");
        }
    }

    #[test]
    fn no_reason_has_bytes_or_seconds_in_it() {
        let time = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let expired = CertificateError::ExpiredContext {
            time: time(1_800_000_000),
            not_after: time(1_700_000_000),
        };
        let said = refused(expired).to_string();
        assert!(said.contains("until Tue, 14 Nov 2023"), "{said}");
        #[allow(deprecated, reason = "rustls gives it too")]
        let unsupported = [
            CertificateError::UnsupportedSignatureAlgorithm,
            CertificateError::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: vec![48, 10],
                supported_algorithms: Vec::new(),
            },
        ];
        for error in unsupported {
            let said = refused(error).to_string();
            assert!(
                said.contains("signed in a way") && !said.contains('['),
                "{said}"
            );
        }
        for error in [
            CertificateError::BadEncoding,
            CertificateError::UnhandledCriticalExtension,
        ] {
            let name = format!("{error:?}");
            let said = refused(error).to_string();
            assert!(!said.contains(&name), "{said}");
        }
    }

    #[test]
    fn another_failure_is_not_a_refused_certificate() {
        let error = io::Error::other(rustls::Error::DecryptError);
        assert_eq!(RefusedCertificate::behind(&error), None);
    }
}
