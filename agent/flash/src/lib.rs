//! The flash engine: a signed image goes from a [`Source`] to a [`Target`], verified.
//!
//! [`inspect`] says what a target carries, [`flash`] makes it carry the image of a manifest. Both stand on small seams
//! (source, target, clock, observer), so that one engine runs on the board, on a workstation and in a test with faults.
//! [`select`] finds the one NVMe namespace that may be written; [`Fault`] is the one table of fault numbers.

mod buffer;
mod clock;
mod crew;
mod engine;
mod error;
mod fault;
mod head;
mod medium;
mod message;
pub mod mtd;
mod observer;
mod plan;
mod progress;
mod report;
pub mod revive;
pub mod select;
mod source;
mod sys;
mod target;
pub mod watchdog;

pub use buffer::AlignedBuffer;
pub use clock::{Clock, SystemClock};
pub use engine::{BUFFER_BUDGET, Job, Options, TargetState, flash, inspect};
pub use error::FlashError;
pub use fault::{Fault, Policy};
pub use message::message;
pub use observer::{Event, Observer, Stage};
pub use report::{Outcome, Report};
pub use source::{FileSource, Source, SourceError};
pub use target::{BlockDevice, Target, ZeroMethod};
