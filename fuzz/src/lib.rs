//! The fuzz targets, and what they share. `fuzz_targets/` has a program of cargo-fuzz for each; `make test` runs all of them over the
//! corpus and over damaged copies of it.

pub mod disk;
pub mod parts;
pub mod sparse;
pub mod targets;

pub use parts::parts;

/// SHA-256 of these bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).into()
}
