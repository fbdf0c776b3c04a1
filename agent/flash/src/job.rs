//! What the engine is asked to do.

use gild_disk::{Clock, Target};
use gild_format::manifest::{Manifest, Sha256Hex};
use gild_format::network::Settings;

use gild_source::Source;

use crate::Observer;

/// How the engine works.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Threads; `None` is 8. Never more than [`BUFFER_BUDGET`](crate::BUFFER_BUDGET) allows.
    pub workers: Option<usize>,
    /// Write the image again even if the target already carries it. Data that is right on the target is kept.
    pub again: bool,
    /// Keep nothing that is on the target. The target is discarded, or overwritten with zeros if it cannot discard.
    pub erase: bool,
    /// Read holes back in full. Otherwise, where the target itself made them zero, only samples are read.
    pub read_holes: bool,
    /// What the record says besides the image.
    pub terms: Terms,
    /// What the network block says.
    pub network: Settings,
}

/// What the record says besides the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Ids of the orders to flash that this flash carries out, the last one first.
    pub orders: Vec<String>,
    /// Least rollback counter that the next image must have.
    pub rollback_floor: u64,
    /// How often this image has been started without proving itself.
    pub trial_starts: u32,
    /// Whether the board's boot order must be changed once the image is proven.
    pub is_boot_order_pending: bool,
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
    /// Who gets the events.
    pub observer: &'a dyn Observer,
    /// How to work.
    pub options: &'a Options,
}
