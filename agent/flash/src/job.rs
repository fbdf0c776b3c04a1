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
    /// Write the image again where the target carries it already. What is right on the target is kept.
    pub again: bool,
    /// Keep nothing of what is on the target: it is made to forget everything, and what it does not forget is written over with zeros.
    pub erase: bool,
    /// Read holes back in full. Else samples of those that the target made zero itself are read.
    pub read_holes: bool,
    /// What the record is to say besides the image.
    pub terms: Terms,
    /// What the network block is to say.
    pub network: Settings,
}

/// What the record says besides the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Ids of the orders to flash that are carried out with it, the last one first.
    pub orders: Vec<String>,
    /// Least rollback counter of the image that comes after this one.
    pub rollback_floor: u64,
    /// Starts of this image that have proven nothing so far.
    pub trial_starts: u32,
    /// The board's boot order is to be changed once the image is proven.
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
    /// Who watches.
    pub observer: &'a dyn Observer,
    /// How to work.
    pub options: &'a Options,
}
