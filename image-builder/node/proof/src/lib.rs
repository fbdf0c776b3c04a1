//! The proof on a node's disk that its image starts ([`prove`]), and what leads a failed start back to the flasher card until
//! then ([`trial`]). [`disk`] also makes the disk unbootable, when the operator wants the flasher to take over again, and [`card`]
//! says which card it would take over with.

pub mod card;
pub mod disk;
mod order;
mod proof;
pub mod trial;

pub use order::{note_order, proven_record};
pub use proof::{Standing, end_trial, is_on_trial, note_trial, prove, should_visit_card, standing};
