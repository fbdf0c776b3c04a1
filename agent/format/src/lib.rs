//! The golden format: manifest, chunks, signature, commit record. No I/O: bytes in, bytes out.

pub mod chunk;
pub mod manifest;
pub mod record;
pub mod release;
pub mod signature;
mod validate;

pub use manifest::{Chunk, Manifest, ManifestError, Partition, Sha256Hex, manifest_sha256};
