//! One chunk: a zstd frame in, raw bytes of a known length and digest out.

use crate::digest::Sha256Hex;
use crate::manifest::Chunk;

pub use crate::digest::sha256;

/// Why a chunk was refused. The offset is where it lies in the raw image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// zstd could not decode it.
    #[error("the chunk at byte {offset} is not a sound zstd frame: {reason}")]
    Frame {
        /// Offset in the raw image.
        offset: u64,
        /// zstd's words.
        reason: String,
    },
    /// The stored bytes or the buffer are not as long as the manifest says.
    #[error("the chunk at byte {offset} is {found} bytes long, the manifest says {expected}")]
    Length {
        /// Offset in the raw image.
        offset: u64,
        /// What the manifest says.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The bytes do not have the manifest's digest.
    #[error("the chunk at byte {offset} has SHA-256 {found}, the manifest says {expected}")]
    Digest {
        /// Offset in the raw image.
        offset: u64,
        /// What the manifest says.
        expected: Sha256Hex,
        /// What came.
        found: Sha256Hex,
    },
    /// zstd could not be set up.
    #[error("no memory for a zstd decoder: {0}")]
    Decoder(String),
}

/// Decodes chunks, one after another; each thread has its own.
pub struct Decoder(zstd::bulk::Decompressor<'static>);

impl Decoder {
    /// A decoder with its working memory, which later chunks use again.
    pub fn new() -> Result<Self, ChunkError> {
        zstd::bulk::Decompressor::new()
            .map(Self)
            .map_err(|error| ChunkError::Decoder(error.to_string()))
    }

    /// Decodes the frame `stored` into `raw` and checks both lengths and the digest.
    ///
    /// After an error `raw` holds anything.
    pub fn decode(
        &mut self,
        chunk: &Chunk,
        stored: &[u8],
        raw: &mut [u8],
    ) -> Result<(), ChunkError> {
        let offset = chunk.raw_offset;
        let length = |expected: u32, found: usize| {
            if expected as usize == found {
                return Ok(());
            }
            Err(ChunkError::Length {
                offset,
                expected: expected.into(),
                found: found as u64,
            })
        };
        length(chunk.stored_length, stored.len())?;
        length(chunk.raw_length, raw.len())?;
        let decoded =
            self.0
                .decompress_to_buffer(stored, raw)
                .map_err(|error| ChunkError::Frame {
                    offset,
                    reason: error.to_string(),
                })?;
        length(chunk.raw_length, decoded)?;
        check(chunk, raw)
    }
}

/// Checks raw bytes, fetched or read back from a disk, against the manifest.
pub fn check(chunk: &Chunk, raw: &[u8]) -> Result<(), ChunkError> {
    let found = sha256(raw);
    if found == chunk.sha256 {
        return Ok(());
    }
    Err(ChunkError::Digest {
        offset: chunk.raw_offset,
        expected: chunk.sha256,
        found,
    })
}

/// Whether all bytes are zero.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    // A block at a time: the inner loop has no branch, so it becomes vector code, and data ends the outer one early.
    bytes
        .chunks(4096)
        .all(|block| block.iter().fold(0, |sum, byte| sum | byte) == 0)
}
