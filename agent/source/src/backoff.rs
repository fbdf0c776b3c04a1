//! Waits between attempts: longer each time, and never the same on two nodes.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::Duration;

use crate::patience::{LONGEST_ASKED, Patience, Trouble};

/// The pause after the given attempt (1 is the first): it doubles from `first` up to `most`, and half of it is chance,
/// so that a rack of nodes that lost one server does not come back all at once.
#[must_use]
pub fn pause(attempt: u32, first: Duration, most: Duration) -> Duration {
    pause_by(chance(), attempt, first, most)
}

/// The same with the caller's own chance, from 0 to 1.
#[must_use]
pub fn pause_by(chance: f64, attempt: u32, first: Duration, most: Duration) -> Duration {
    let whole = first
        .saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)))
        .min(most);
    whole / 2 + whole.mul_f64(chance / 2.0)
}

/// From 0 to 1; the standard library's hash keys are random numbers of the kernel.
fn chance() -> f64 {
    f64::from(u16::try_from(RandomState::new().hash_one(()) >> 48).unwrap_or(0))
        / f64::from(u16::MAX)
}

/// Waits longer after each failure, and each node differently: half a second after the first,
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
        let wait = pause(attempt, Self::FIRST, self.longest);
        // Added, because a server asks all nodes of a rack to wait for the same time.
        let wait = wait + trouble.least_wait().min(LONGEST_ASKED);
        log::debug!("attempt {attempt} failed, waiting {wait:.1?}: {trouble}");
        (self.sleep)(wait);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

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
    fn pauses_grow_to_their_most_and_never_vanish() {
        let first = Duration::from_secs(1);
        let most = Duration::from_secs(30);
        for attempt in 1..200 {
            let whole = most.min(first * 2_u32.pow(attempt.min(10) - 1));
            let pause = pause(attempt, first, most);
            assert!(pause >= whole / 2 && pause <= whole, "{attempt}: {pause:?}");
        }
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
        // It asks all nodes of a rack for the same time, and they do not come back together.
        let half = Duration::from_millis(500);
        for (asked, least) in [
            (Duration::from_secs(40), Duration::from_secs(40)),
            (Duration::from_hours(9), Duration::from_mins(2)),
        ] {
            let of_a_node = || waits_for(asked, Backoff::forever(), 1).0[0];
            let waits: Vec<_> = (0..8).map(|_| of_a_node()).collect();
            let limits = least..=least + half;
            assert!(waits.iter().all(|wait| limits.contains(wait)), "{waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
        }
    }
}
