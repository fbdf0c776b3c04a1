//! A trait for time: PID 1 feeds its watchdog while it sleeps, and a test does not sleep.

use std::time::{Duration, Instant};

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Time since an arbitrary fixed point.
    fn now(&self) -> Duration;
    /// Waits between two looks at something that is not there yet.
    fn sleep(&self, time: Duration);
}

/// The clock of the operating system.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// A clock that starts now.
    #[must_use]
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
