//! The flash engine: a signed image goes from a [`Source`](gild_source::Source) to a [`Target`](gild_disk::Target), verified.
//!
//! [`inspect`] says what a target carries, and [`flash`] makes it carry the image of a manifest. Source, target, clock and observer are
//! small traits. So the same engine runs on the board, on a workstation, and in a test with simulated faults.

mod ahead;
mod crew;
mod engine;
mod error;
mod head;
mod job;
mod medium;
mod observer;
mod plan;
mod progress;
mod read_back;
mod report;
mod run;
mod second_look;
mod turns;
mod verify;
mod write;

pub use engine::{flash, inspect};
pub use error::FlashError;
pub use head::TargetState;
pub use job::{Job, Options, Terms};
pub use observer::{Event, Observer, Stage};
pub use plan::{BUFFER_BUDGET, WORKERS};
pub use report::{Outcome, Report};
