//! What a node shows the desk once it has its token: that it was given one.

use std::fmt;

use gild_boards::mac::Mac;
use hmac::{Hmac, KeyInit, Mac as _};
use sha2::{Digest, Sha256};

/// The HTTP header in which a node shows it.
pub const PROOF_HEADER: &str = "gild-proof";

/// Made of a node's token and its MAC address, and of no use to learn the token by. Who shows it has been given the token before, so that the
/// desk tells it nothing new. It does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof(String);

impl Proof {
    /// The proof of the node with this address: HMAC-SHA256 of `desk:<mac>` under the token, 64 hex digits.
    #[must_use]
    #[allow(clippy::missing_panics_doc, reason = "no length of key makes it panic")]
    pub fn of(token: &str, mac: Mac) -> Self {
        let mut hmac = Hmac::<Sha256>::new_from_slice(token.as_bytes())
            .expect("HMAC takes a key of any length");
        hmac.update(format!("desk:{mac}").as_bytes());
        Self(hex::encode(hmac.finalize().into_bytes()))
    }

    /// The header's value.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the desk keeps of it: its SHA-256, 64 hex digits. Whoever reads the desk's files can show no proof.
    #[must_use]
    pub fn digest(&self) -> String {
        Self::digest_of(&self.0)
    }

    /// The same of what somebody shows.
    #[must_use]
    pub fn digest_of(shown: &str) -> String {
        hex::encode(Sha256::digest(shown))
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

    const MAC: Mac = Mac([0xd8, 0x3a, 0xdd, 1, 2, 3]);

    /// As `openssl dgst -sha256 -mac HMAC -macopt key:s3cret` gives it.
    #[test]
    fn a_proof_is_of_one_token_and_one_node() {
        let proof = Proof::of("s3cret", MAC);
        assert_eq!(
            proof.reveal(),
            "f1b91170d326632a23b47884ec5364584586bce48451c0e88c6161399c283611"
        );
        assert_ne!(proof, Proof::of("s3cret", Mac([0xd8, 0x3a, 0xdd, 1, 2, 4])));
        assert_ne!(proof, Proof::of("s3cre7", MAC));
    }

    #[test]
    fn the_desk_keeps_a_digest_and_nothing_shows_the_proof() {
        let proof = Proof::of("s3cret", MAC);
        assert_eq!(proof.digest(), Proof::digest_of(proof.reveal()));
        assert_ne!(proof.digest(), proof.reveal());
        assert!(!format!("{proof:?}").contains(proof.reveal()));
    }
}
