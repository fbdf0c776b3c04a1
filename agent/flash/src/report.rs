//! What a flash did, counted.

use std::time::Duration;

use gild_disk::ZeroMethod;

use crate::Stage;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The target carries the image now.
    Flashed,
    /// The target carried the image before; nothing was written.
    AlreadyDone,
}

/// What was done, in bytes, chunks and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Stored bytes read from the source.
    pub bytes_fetched: u64,
    /// Raw bytes hashed: decoded chunks, and what was read back.
    pub bytes_hashed: u64,
    /// Bytes written to the target, record and explicit zeros included.
    pub bytes_written: u64,
    /// Bytes the target was asked to make zero.
    pub bytes_zeroed: u64,
    /// Bytes that the target was asked to discard before the first write. 0 if it cannot discard, or if its data was kept.
    pub bytes_discarded: u64,
    /// Bytes read back from the target.
    pub bytes_read_back: u64,
    /// Those of them that lie in holes.
    pub hole_bytes_read_back: u64,
    /// Bytes of the image that lie in holes beyond the first MiB, which is written in full.
    pub hole_bytes: u64,
    /// Data chunks of the image (holes are not counted).
    pub chunks: usize,
    /// Data chunks that were found on the target and not fetched.
    pub chunks_kept: usize,
    /// Fetches of a chunk, repetitions included.
    pub chunks_fetched: u64,
    /// Fetches that were repeated because the stored bytes did not match the manifest.
    pub chunks_damaged: u64,
    /// Chunks that read back wrong and were written again.
    pub chunks_rewritten: u64,
    /// How holes were made zero; `None` if there are none.
    pub zero_method: Option<ZeroMethod>,
    /// The target's own zeroing failed, so every hole was written with zeros and read back in full.
    pub zeroing_failed: bool,
    /// Time per stage, in the order they ran.
    pub stages: Vec<(Stage, Duration)>,
}
