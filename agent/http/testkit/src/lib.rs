//! For tests: a small web server whose answers the test makes, good ones and others.

mod message;
mod server;

pub use message::{DRIP, Reply, Request};
pub use server::Server;
