//! What bounds the messages that this crate sends and takes, and the time for them.

use std::time::Duration;

use gild_source::TICK;

/// The most bytes that one READ asks for. A larger value gains nothing on the links of a board, and each
/// connection holds a few buffers of this size.
pub const MAX_READ: u32 = 1 << 20;

/// The largest answer a server may send: the data of one READ and its headers.
pub const MAX_MESSAGE: u32 = MAX_READ + 4096;

/// In how many pieces an answer may come, empty ones counted: the largest answer in the smallest pieces in use, 512
/// bytes.
pub const MAX_FRAGMENTS: u32 = MAX_MESSAGE / 512;

/// The longest target of a symbolic link, as in Linux.
pub const MAX_PATH: usize = 4096;

/// How many symbolic links one path may lead through.
pub const MAX_LINKS: usize = 8;

/// A server that sends a byte now and then is given up after this many times the limit for an answer.
pub const LIMITS_PER_ANSWER: u32 = 4;

/// How long the answer to UMNT is waited for. Nothing depends on it.
pub const FAREWELL: Duration = TICK;
