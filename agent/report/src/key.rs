//! The key by which the desk knows the reports of its own cards.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;

/// The HTTP header that has the signature of a report.
pub const SIGNATURE_HEADER: &str = "gild-signature";

/// Length of the key, bytes.
const LENGTH: usize = 32;

/// What every card of a site signs its reports with. It does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct ReportKey([u8; LENGTH]);

/// It is not a key. The text is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it should be 64 hex digits, as `gild init` makes them")]
pub struct KeyError;

impl ReportKey {
    /// Reads the 64 hex digits.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; LENGTH];
        hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| KeyError)?;
        Ok(Self(bytes))
    }

    /// The signature of a report: HMAC-SHA256 of its bytes, 64 hex digits.
    #[must_use]
    pub fn sign(&self, report: &[u8]) -> String {
        hex::encode(self.hmac(report).finalize().into_bytes())
    }

    /// Whether a holder of this key has signed these bytes.
    #[must_use]
    pub fn has_signed(&self, report: &[u8], signature: &str) -> bool {
        let Ok(signature) = hex::decode(signature) else {
            return false;
        };
        self.hmac(report).verify_slice(&signature).is_ok()
    }

    #[allow(clippy::missing_panics_doc, reason = "no length of key makes it panic")]
    fn hmac(&self, report: &[u8]) -> Hmac<Sha256> {
        let mut hmac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        hmac.update(report);
        hmac
    }
}

impl fmt::Debug for ReportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a report key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test case 2 of RFC 4231 has a short key; this is the same text under a key of 32 bytes, as `openssl dgst -sha256 -mac HMAC
    /// -macopt hexkey:` gives it.
    #[test]
    fn a_report_is_signed_as_openssl_does() {
        let key = ReportKey::parse(&"0b".repeat(32)).expect("a key");
        let signature = key.sign(b"what do ya want for nothing?");
        assert_eq!(signature, OPENSSL);
        assert!(key.has_signed(b"what do ya want for nothing?", &signature));
    }

    const OPENSSL: &str = "c3f2649c34ea24e4d62a2c7e868bbea0233c9d4c2cc300794db76aa18d6822d8";

    #[test]
    fn another_text_another_key_and_half_a_signature_are_not_signed() {
        let key = ReportKey::parse(&"0b".repeat(32)).expect("a key");
        let other = ReportKey::parse(&"0c".repeat(32)).expect("a key");
        let signature = key.sign(b"{}");
        assert!(key.has_signed(b"{}", &signature));
        assert!(!key.has_signed(b"{ }", &signature));
        assert!(!other.has_signed(b"{}", &signature));
        for wrong in ["", "zz", &signature[..32], &format!("{signature}00")] {
            assert!(!key.has_signed(b"{}", wrong), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_64_hex_digits_and_does_not_show_itself() {
        for wrong in [
            "",
            "0b",
            &"0b".repeat(31),
            &"0b".repeat(33),
            &"zz".repeat(32),
        ] {
            assert_eq!(ReportKey::parse(wrong), Err(KeyError), "{wrong}");
        }
        let key = ReportKey::parse(&format!("{}\n", "0B".repeat(32))).expect("a key");
        assert!(!format!("{key:?}").contains("0b"));
    }
}
