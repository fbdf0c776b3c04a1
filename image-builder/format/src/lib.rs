//! The golden format: manifest, chunks, signature, commit record. No I/O: bytes in, bytes out.

pub mod manifest;
pub mod record;
