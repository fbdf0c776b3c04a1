//! What the fuzz targets share.

pub mod disk;
pub mod parts;
pub mod sparse;

pub use parts::parts;

/// SHA-256 of these bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).into()
}
