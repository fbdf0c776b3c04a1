//! The time since the board started.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The kernel's own time, which setting the clock does not change.
pub fn uptime() -> Option<Duration> {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
    Some(Duration::from(time))
}
