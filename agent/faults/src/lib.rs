//! The fault table: what the LED blinks, the exit code of `gild` and the table of docs/failures.md are this one.

mod fault;
pub mod led;
mod message;

pub use fault::{Fault, HasFault, Policy};
pub use message::message;
