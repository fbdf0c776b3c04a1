//! What every way to a published image has in common, be it NFS, HTTP or a folder: a [`Source`] that is read at any place, the
//! [`Patience`] with its server, and [`Slots`] that bound how many reads are in flight.

mod backoff;
mod options;
mod patience;
mod range;
mod reminder;
mod slots;
mod source;
mod waits;
pub mod within;

pub use backoff::{Backoff, pause, pause_by};
pub use options::{Options, Stats, check_name};
pub use patience::{LONGEST_ASKED, Patience, Trouble, persist};
pub use range::OutOfRange;
pub use reminder::Reminder;
pub use slots::{Lease, Slots};
pub use source::{FileSource, Source, SourceError};
pub use waits::{PROBE_AFTER, PROBE_EVERY, PROBES, TICK, UNACKNOWLEDGED};
