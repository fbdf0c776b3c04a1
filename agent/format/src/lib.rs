//! The golden format: manifest, chunks, signature, commit record, network block. No I/O: bytes in, bytes out.

pub mod chunk;
mod digest;
pub mod fit;
mod image_id;
pub mod manifest;
pub mod network;
pub mod record;
pub mod release;
pub mod signature;
mod validate;

pub use digest::Sha256Hex;
pub use image_id::{ImageId, NotAName};
pub use manifest::{Chunk, Manifest, ManifestError, Partition, manifest_sha256};
pub use validate::version as version_numbers;
