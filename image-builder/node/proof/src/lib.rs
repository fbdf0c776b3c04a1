//! The proof on a node's disk that its image starts ([`prove`]), and the way back to the flasher card until then ([`trial`]). [`disk`] can
//! also make the disk unbootable, when the operator wants the flasher to take over again. [`card`] says which card would take over.

pub mod card;
pub mod disk;
mod order;
mod proof;
pub mod trial;

pub use order::{note_order, proven_record};
pub use proof::{
    Standing, end_trial, is_on_trial, next_floor, note_trial, prove, should_visit_card, standing,
};
