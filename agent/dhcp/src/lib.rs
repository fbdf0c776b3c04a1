//! DHCP for one interface (RFC 2131), as tolerant as the clients that most servers are tested with.
//!
//! [`Client`] is the state machine: bytes and the time in, bytes and events out. [`run`] has the sockets and the clock.
//!
//! The codec is our own because dhcproto 0.15, the maintained one, stops at the first option that it cannot read, joins
//! no overloaded options, and needs hickory-proto. A server's odd option must not cost a board its address.

mod client;
mod domains;
mod frame;
mod lease;
mod message;
mod options;
mod routes;
mod run;
mod socket;

pub use client::{Action, Client, Event, Loss, To};
pub use lease::{Configuration, Lease, Times};
pub use message::Mac;
pub use routes::Route;
pub use run::{News, run};

#[cfg(feature = "fuzz")]
pub use frame::payload;
