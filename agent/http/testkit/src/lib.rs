//! For tests: a small web server whose answers the test makes, good ones and others, and ports.

mod message;
mod ports;
mod server;

pub use message::{DRIP, Reply, Request};
pub use ports::free_port;
pub use server::Server;
