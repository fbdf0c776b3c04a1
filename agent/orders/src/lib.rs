//! Signed orders: what an operator has boards do, and how card and node know who ordered it. No I/O.
//!
//! The operator signs an [`Order`]. A desk or a web server hands it out as a [`SignedOrder`], which gives nothing before its
//! signature is checked. The network and the desk can keep an order back, and cannot make one.

mod choice;
mod hearing;
mod id;
mod order;
mod signed;

pub use choice::{CHANNEL_RULE, Channel, Choice};
pub use hearing::{FLOOR, Listener, Refusal, ask, carried_out_with, last_signed, must_be_in_time};
pub use id::OrderId;
pub use order::{Action, FORMAT, Flash, LONGEST_LIFE, Order, OrderError};
pub use signed::{MAX_LENGTH, SignedOrder, SignedOrderError};
