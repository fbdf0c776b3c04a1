//! How long to wait for a server, and when to give up.

use std::fmt;
use std::thread;
use std::time::Duration;

/// A server that asks to be left alone for longer is asked again after this time.
pub const LONGEST_ASKED: Duration = Duration::from_mins(2);

/// What went wrong with a server.
pub trait Trouble: fmt::Display {
    /// Whether waiting can help: the server may come back, or its operator may repair it.
    fn is_retryable(&self) -> bool;

    /// How long the server asks to be left alone: [`LONGEST_ASKED`] at most.
    fn least_wait(&self) -> Duration {
        Duration::ZERO
    }
}

/// Called between two attempts.
pub trait Patience: Send + Sync {
    /// Waits after the failure of attempt number `attempt`, which starts at 1, and at 1 again after
    /// every success. `false` gives up: the error goes to the caller.
    ///
    /// Several threads may be waiting at once.
    fn wait(&self, attempt: u32, trouble: &dyn Trouble) -> bool;

    /// Called about once a second while `server` owes an answer on a connection that holds, with how long it has been
    /// silent; and after each attempt that brought no connection.
    fn waiting(&self, server: &dyn fmt::Display, silent: Duration) {
        let _ = (server, silent);
    }

    /// Whether it has ended for all threads: who still waits for an answer then gives up too.
    fn is_over(&self) -> bool {
        false
    }

    /// Called after every read and every other exchange that went well: a slow server is at work too.
    fn got_on(&self) {}

    /// Called when a server has done what was asked of it. Steps on the way there, such as a connection, do not count: a relay
    /// takes connections for a server that is off.
    fn served(&self) {}
}

/// Does the work as often as it takes and the patience lasts.
pub fn persist<T, E: Trouble>(
    patience: &dyn Patience,
    mut work: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let mut attempt = 0;
    loop {
        let error = match work() {
            Ok(output) => {
                patience.got_on();
                patience.served();
                return Ok(output);
            }
            Err(error) => error,
        };
        attempt += 1;
        if !error.is_retryable() || !patience.wait(attempt, &error) {
            return Err(error);
        }
    }
}

/// Waits longer after each failure, and never two nodes in step: half a second after the first,
/// at most 15 seconds, each shortened by up to a half at random. A server that asks for a longer wait gets it, up to two minutes.
pub struct Backoff {
    attempts: Option<u32>,
    longest: Duration,
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
            longest: Self::LONGEST,
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

    /// Waits at most this long, unless the server asks for more.
    #[must_use]
    pub fn at_most(self, longest: Duration) -> Self {
        Self { longest, ..self }
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
    fn wait(&self, attempt: u32, trouble: &dyn Trouble) -> bool {
        if self.attempts.is_some_and(|attempts| attempt >= attempts) {
            return false;
        }
        let doublings = attempt.saturating_sub(1).min(16);
        let longest = (Self::FIRST * (1 << doublings)).min(self.longest);
        let wait = longest.mul_f64(1.0 - fastrand::f64() / 2.0);
        let wait = wait.max(trouble.least_wait().min(LONGEST_ASKED));
        log::debug!("attempt {attempt} failed, waiting {wait:.1?}: {trouble}");
        (self.sleep)(wait);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::{Backoff, Patience, Trouble, persist};

    struct Busy(Duration);

    impl std::fmt::Display for Busy {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("busy")
        }
    }

    impl Trouble for Busy {
        fn is_retryable(&self) -> bool {
            true
        }

        fn least_wait(&self) -> Duration {
            self.0
        }
    }

    fn waits(backoff: Backoff, failures: u32) -> (Vec<Duration>, bool) {
        waits_for(Duration::ZERO, backoff, failures)
    }

    /// The waits for a server that asks for this.
    fn waits_for(least: Duration, backoff: Backoff, failures: u32) -> (Vec<Duration>, bool) {
        let slept = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&slept);
        let backoff = backoff.sleep_with(move |wait| log.lock().expect("no panic").push(wait));
        let goes_on = (1..=failures).all(|attempt| backoff.wait(attempt, &Busy(least)));
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

    #[test]
    fn a_server_that_asks_to_be_left_alone_is_within_limits() {
        let (waits, _) = waits_for(Duration::from_secs(40), Backoff::forever(), 2);
        assert_eq!(waits, [Duration::from_secs(40); 2]);
        let (waits, _) = waits_for(Duration::from_hours(9), Backoff::forever(), 1);
        assert_eq!(waits, [Duration::from_mins(2)]);
    }

    /// Counts what was served.
    #[derive(Default)]
    struct Count(Mutex<u32>);

    impl Patience for Count {
        fn wait(&self, attempt: u32, _: &dyn Trouble) -> bool {
            attempt < 3
        }

        fn served(&self) {
            *self.0.lock().expect("no panic") += 1;
        }
    }

    #[test]
    fn only_work_that_is_done_counts_as_served() {
        let count = Count::default();
        let served = || *count.0.lock().expect("no panic");
        let busy = || Err::<(), _>(Busy(Duration::ZERO));
        assert!(persist(&count, busy).is_err());
        assert_eq!(served(), 0);
        assert!(persist(&count, || Ok::<_, Busy>(())).is_ok());
        assert_eq!(served(), 1);
    }
}
