//! What bounds the messages that this crate sends and takes, and the time for them.

use std::time::Duration;

/// The most bytes that one READ asks for. Larger brings nothing on the links of a board, and each
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

/// How often the reader says that it waits.
pub const TICK: Duration = Duration::from_secs(1);

/// How long the answer to UMNT is waited for. Nothing depends on it.
pub const FAREWELL: Duration = TICK;

/// TCP's keep-alive: a peer that is gone in mid-connection is noticed after about 20 s. A peer whose service is slow
/// answers the probes all the same, because its kernel does.
pub const PROBE_AFTER: Duration = Duration::from_secs(5);
/// Between two probes.
pub const PROBE_EVERY: Duration = Duration::from_secs(5);
/// Probes without an answer.
pub const PROBES: u32 = 3;
/// The same for bytes that were sent and are not acknowledged.
pub const UNACKNOWLEDGED: Duration = Duration::from_secs(20);
