//! The waits that every way to a server has in common.

use std::time::Duration;

/// How often a reader says that it waits, or that bytes come.
pub const TICK: Duration = Duration::from_secs(1);

/// TCP's keep-alive: a peer that is gone in mid-connection is noticed after [`UNACKNOWLEDGED`]. A peer whose service is slow
/// still answers the probes, because its kernel does.
pub const PROBE_AFTER: Duration = Duration::from_secs(5);
/// Between two probes.
pub const PROBE_EVERY: Duration = Duration::from_secs(5);
/// Probes without an answer.
pub const PROBES: u32 = 3;
/// The same for bytes that were sent and are not acknowledged.
pub const UNACKNOWLEDGED: Duration = PROBE_AFTER.saturating_add(PROBE_EVERY.saturating_mul(PROBES));
