//! What a node shows the desk once it has its token: that it was given one.

use std::fmt;

use gild_boards::mac::Mac;
use hmac::{Hmac, KeyInit, Mac as _};
use sha2::{Digest, Sha256};

/// The HTTP header in which a node shows it.
pub const PROOF_HEADER: &str = "gild-proof";

/// Made of a node's token, its MAC address and its board's own number, so that no other node can make it, unless the board shows no
/// number. The desk takes the first one that a node shows while its door is open, and knows the node by it from then on. It does not show
/// itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof(String);

impl Proof {
    /// The proof of the node with this address: HMAC-SHA256 of `desk:<mac>:<number>` under the token, 64 hex digits. A board without a
    /// number leaves `:<number>` out.
    #[must_use]
    #[allow(clippy::missing_panics_doc, reason = "no length of key makes it panic")]
    pub fn of(token: &str, mac: Mac, board_number: Option<[u8; 16]>) -> Self {
        let mut hmac = Hmac::<Sha256>::new_from_slice(token.as_bytes())
            .expect("HMAC takes a key of any length");
        hmac.update(format!("desk:{mac}").as_bytes());
        if let Some(number) = board_number {
            hmac.update(format!(":{}", hex::encode(number)).as_bytes());
        }
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

    const NUMBER: [u8; 16] = [
        0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
        0xff,
    ];

    /// As `openssl dgst -sha256 -mac HMAC -macopt key:s3cret` gives it.
    #[test]
    fn a_proof_is_of_one_token_one_node_and_one_board() {
        let proof = Proof::of("s3cret", MAC, Some(NUMBER));
        assert_eq!(
            proof.reveal(),
            "47df9175c416ca8dfa4bf08a284a5d3f4829f812870ff7f7941731396dbe5d94"
        );
        let other = Mac([0xd8, 0x3a, 0xdd, 1, 2, 4]);
        assert_ne!(proof, Proof::of("s3cret", other, Some(NUMBER)));
        assert_ne!(proof, Proof::of("s3cre7", MAC, Some(NUMBER)));
        assert_ne!(proof, Proof::of("s3cret", MAC, None));
    }

    #[test]
    fn the_desk_keeps_a_digest_and_nothing_shows_the_proof() {
        let proof = Proof::of("s3cret", MAC, None);
        assert_eq!(proof.digest(), Proof::digest_of(proof.reveal()));
        assert_ne!(proof.digest(), proof.reveal());
        assert!(!format!("{proof:?}").contains(proof.reveal()));
    }
}
