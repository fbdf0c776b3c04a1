//! The proof on a node's disk that its image starts ([`prove`]), and what leads a failed start back to the flasher card until
//! then ([`trial`]). [`disk`] also makes the disk unbootable, when somebody wants the flasher to take over again.

pub mod disk;
mod proof;
pub mod trial;

pub use proof::{Standing, end_trial, note_trial, prove, should_visit_card};
