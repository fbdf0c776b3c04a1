//! From source to target.

use gild_format::manifest::{Manifest, Sha256Hex};

use crate::{Clock, FlashError, Observer, Report, Source, Target};

/// Bytes all chunk buffers together may take, whatever the chunk size.
pub const BUFFER_BUDGET: usize = 96 << 20;

/// What a target carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// This image, committed: there is nothing to write.
    Done,
    /// This image, not committed: what is there is kept.
    Resumable,
    /// Anything else.
    Other,
}

/// How the engine works.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Threads; `None` is twice the cores, at most 8, and no more than the buffers' budget allows.
    pub workers: Option<usize>,
}

/// One image onto one target.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The image. Its signature was checked by the caller.
    pub manifest: &'a Manifest,
    /// SHA-256 of the manifest's bytes.
    pub manifest_sha256: Sha256Hex,
    /// The stored file of the image.
    pub source: &'a dyn Source,
    /// The disk.
    pub target: &'a dyn Target,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Who watches.
    pub observer: &'a dyn Observer,
    /// How to work.
    pub options: &'a Options,
}

/// Says what the target carries. Writes nothing.
pub fn inspect(
    manifest: &Manifest,
    manifest_sha256: Sha256Hex,
    target: &dyn Target,
) -> Result<TargetState, FlashError> {
    todo!(
        "{} {:?} {}",
        manifest.image_id,
        manifest_sha256.0,
        target.name()
    )
}

/// Makes the target carry the image, verified and committed.
pub fn flash(job: &Job<'_>) -> Result<Report, FlashError> {
    todo!("{}", job.manifest.image_id)
}
