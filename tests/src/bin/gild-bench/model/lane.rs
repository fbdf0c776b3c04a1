//! Something that does one thing at a time, and each thing takes its time.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub struct Lane(Mutex<Instant>);

impl Lane {
    pub fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    /// Does the work in this much of the lane's time, after everything that came before.
    pub fn spend<T>(&self, time: Duration, work: impl FnOnce() -> T) -> T {
        let end = {
            let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *free = (*free).max(Instant::now()) + time;
            *free
        };
        let result = work();
        thread::sleep(end.saturating_duration_since(Instant::now()));
        result
    }
}
