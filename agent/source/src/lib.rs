//! What every way to a published image has in common, be it NFS, HTTP or a folder: a [`Source`] that is read at any place, the
//! [`Patience`] with its server, and [`Slots`] that bound how many reads are in flight.

mod options;
mod patience;
mod reminder;
mod slots;
mod source;

pub use options::{Options, Stats, check_name};
pub use patience::{Backoff, LONGEST_ASKED, Patience, Trouble, persist};
pub use reminder::Reminder;
pub use slots::{Lease, Slots};
pub use source::{FileSource, Source, SourceError};
