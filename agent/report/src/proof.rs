//! What a node shows the desk, so that the desk knows it again.

use std::fmt;

use sha2::{Digest, Sha256};

/// The HTTP header in which a node shows it.
pub const PROOF_HEADER: &str = "gild-proof";

/// Length of a node's secret, bytes.
const LENGTH: usize = 32;

/// A node's own secret, as the node sends it: 64 hex digits. While a node's door is open, the desk accepts the first one that
/// comes, and recognizes the node by it from then on. Its `Debug` text does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof(String);

impl Proof {
    /// That of this secret.
    #[must_use]
    pub fn of(secret: [u8; LENGTH]) -> Self {
        Self(hex::encode(secret))
    }

    /// Reads the 64 hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut secret = [0; LENGTH];
        hex::decode_to_slice(text.trim(), &mut secret).ok()?;
        Some(Self::of(secret))
    }

    /// The header's value.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the desk keeps of it: its SHA-256, 64 hex digits. Anyone who reads the desk's files can show no proof.
    #[must_use]
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(&self.0))
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a proof")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_64_hex_digits_and_nothing_shorter_is_taken_for_one() {
        let proof = Proof::of([0xab; 32]);
        assert_eq!(proof.reveal(), "ab".repeat(32));
        for same in ["ab".repeat(32), format!("{}\n", "AB".repeat(32))] {
            assert_eq!(Proof::parse(&same), Some(proof.clone()), "{same}");
        }
        for wrong in [
            "",
            "ab",
            &"ab".repeat(31),
            &"ab".repeat(33),
            &"zz".repeat(32),
        ] {
            assert_eq!(Proof::parse(wrong), None, "{wrong}");
        }
    }

    /// As `sha256sum` gives it.
    #[test]
    fn the_desk_keeps_a_digest_and_nothing_shows_the_proof() {
        let proof = Proof::of([0xab; 32]);
        assert_eq!(proof.digest(), DIGEST);
        assert!(!format!("{proof:?}").contains("ab"));
    }

    const DIGEST: &str = "271a413bd339c5709fdceaec41f14f11e9fbfb5042d72d331c65f32b284cd09a";
}
