//! What the engine is asked to do.

use gild_disk::{Clock, Target};
use gild_format::manifest::{Manifest, Sha256Hex};

use crate::{Observer, Source};

/// How the engine works.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Threads; `None` is twice the cores, at most 8. Never more than [`BUFFER_BUDGET`](crate::BUFFER_BUDGET) allows.
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
