//! The time since the board started.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The kernel's, which no step of the clock moves.
pub fn uptime() -> Option<Duration> {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
    Some(Duration::from(time))
}
