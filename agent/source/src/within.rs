//! Work that may hang: it runs beside other work, with a timeout.

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Work that was begun.
pub struct Begun<T> {
    outcome: Receiver<T>,
    end: Instant,
}

/// Begins the work. If it does not end in this time, it goes on alone, and ends with the program.
pub fn begin<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Begun<T> {
    let (sender, outcome) = mpsc::sync_channel(1);
    thread::spawn(move || {
        // Nobody waits any more when it comes too late.
        let _ = sender.send(work());
    });
    Begun {
        outcome,
        end: Instant::now() + limit,
    }
}

impl<T> Begun<T> {
    /// What came of it, if it has ended so short a time from now.
    #[must_use]
    pub fn after(&self, time: Duration) -> Option<T> {
        let left = self.end.saturating_duration_since(Instant::now());
        self.outcome.recv_timeout(left.min(time)).ok()
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// What came of it, in time.
    #[must_use]
    pub fn outcome(self) -> Option<T> {
        let left = self.end.saturating_duration_since(Instant::now());
        self.outcome.recv_timeout(left).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_hangs_is_left_alone_and_other_work_is_done() {
        let (_hold, forever) = mpsc::channel::<()>();
        let hangs = begin(Duration::from_millis(20), move || forever.recv());
        let ends = begin(Duration::from_mins(1), || 7);
        assert_eq!(hangs.after(Duration::from_millis(1)), None);
        assert!(hangs.outcome().is_none());
        assert_eq!(ends.outcome(), Some(7));
    }
}
