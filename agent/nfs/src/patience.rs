//! How long to wait for a server, and when to give up.

use std::fmt;
use std::thread;
use std::time::Duration;

use crate::NfsError;

/// Called between two attempts.
pub trait Patience: Send + Sync {
    /// Waits after the failure of attempt number `attempt`, which starts at 1, and at 1 again after
    /// every success. `false` gives up: the error goes to the caller.
    ///
    /// Several threads may be waiting at once.
    fn wait(&self, attempt: u32, error: &NfsError) -> bool;

    /// Called after every READ and every other exchange that went well: a slow server is at work too.
    fn got_on(&self) {}

    /// Called about once a second while `server` owes an answer on a connection that holds, with how long it has been
    /// silent; and after each of its addresses that took no connection.
    fn waiting(&self, server: &dyn fmt::Display, silent: Duration) {
        let _ = (server, silent);
    }
}

/// Waits longer after each failure, and never two nodes in step: half a second after the first,
/// at most 15 seconds, each shortened by up to a half at random.
pub struct Backoff {
    attempts: Option<u32>,
    sleep: Box<dyn Fn(Duration) + Send + Sync>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(15);

    /// Never gives up.
    #[must_use]
    pub fn forever() -> Self {
        Self {
            attempts: None,
            sleep: Box::new(thread::sleep),
        }
    }

    /// Gives up when this many attempts in a row have failed.
    #[must_use]
    pub fn attempts(attempts: u32) -> Self {
        Self {
            attempts: Some(attempts),
            ..Self::forever()
        }
    }

    /// Waits by `sleep` instead of by stopping the thread.
    #[must_use]
    pub fn sleep_with(self, sleep: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        Self {
            sleep: Box::new(sleep),
            ..self
        }
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff")
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

impl Patience for Backoff {
    fn wait(&self, attempt: u32, error: &NfsError) -> bool {
        if self.attempts.is_some_and(|attempts| attempt >= attempts) {
            return false;
        }
        let doublings = attempt.saturating_sub(1).min(16);
        let longest = (Self::FIRST * (1 << doublings)).min(Self::LONGEST);
        let wait = longest.mul_f64(1.0 - fastrand::f64() / 2.0);
        log::debug!("attempt {attempt} failed, waiting {wait:.1?}: {error}");
        (self.sleep)(wait);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::{Backoff, Patience};
    use crate::NfsError;

    fn waits(backoff: Backoff, failures: u32) -> (Vec<Duration>, bool) {
        let slept = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&slept);
        let backoff = backoff.sleep_with(move |wait| log.lock().expect("no panic").push(wait));
        let error = NfsError::Name {
            name: String::new(),
        };
        let goes_on = (1..=failures).all(|attempt| backoff.wait(attempt, &error));
        let slept = slept.lock().expect("no panic").clone();
        (slept, goes_on)
    }

    #[test]
    fn waits_grow_to_a_limit_and_are_never_cut_by_more_than_half() {
        let (waits, goes_on) = waits(Backoff::forever(), 1000);
        assert!(goes_on);
        for (wait, longest) in waits.iter().zip([0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]) {
            let longest = Duration::from_secs_f64(longest);
            assert!(
                *wait <= longest && *wait >= longest / 2,
                "{wait:?} of {longest:?}"
            );
        }
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(15)));
    }

    #[test]
    fn two_nodes_do_not_wait_in_step() {
        assert_ne!(
            waits(Backoff::forever(), 8).0,
            waits(Backoff::forever(), 8).0
        );
    }

    #[test]
    fn a_limit_gives_up_without_a_last_wait() {
        let (waits, goes_on) = waits(Backoff::attempts(3), 3);
        assert!(!goes_on);
        assert_eq!(waits.len(), 2);
    }
}
