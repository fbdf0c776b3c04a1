//! Orders of the operator: the folder `orders/`, who gets which of them, and how far each node is with them.
//!
//! The desk itself makes only drafts. It hands out an order only after it has checked the operator's signature. The card or the node checks
//! the signature again: that check protects a disk even if the desk was stolen.

mod hand;
mod keys;
mod known;
mod names;
mod offered;
mod shelf;
mod shown;
mod way;
mod wish;
mod words;

pub use hand::for_node;
pub use keys::{Keys, KeysError};
pub use known::KnownOrders;
pub use names::{addresses, name};
pub use offered::{NotOffered, Offered};
pub use shelf::{MOST, QueueError, Queued, Shelf, ShelfError, Standing};
pub use shown::{NodeShown, OfNode, OrderShown, for_page, of_node};
pub use way::{LONGEST_TURN, Step, Stop, step, stop};
pub use wish::{Wish, WishError, latest_id};
pub use words::{acts, nodes};
