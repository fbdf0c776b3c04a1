//! `gild init`, `serve` and `node`: the desk of a rack.

pub mod init;
pub mod node;
mod question;
mod running;
pub mod serve;
