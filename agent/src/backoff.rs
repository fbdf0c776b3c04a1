//! Waits between attempts: longer each time, and never the same on two nodes.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The wait after the given attempt (1 is the first): it doubles from `first` up to `most`, and half of it is chance,
/// so that a rack of nodes that lost one server does not come back in step.
pub fn wait(attempt: u32, first: Duration, most: Duration) -> Duration {
    let whole = first
        .saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)))
        .min(most);
    whole / 2 + whole.mul_f64(chance() / 2.0)
}

/// From 0 to 1; the standard library's hash keys are random numbers of the kernel.
fn chance() -> f64 {
    f64::from(u16::try_from(RandomState::new().hash_one(()) >> 48).unwrap_or(0))
        / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_most_and_never_vanish() {
        let first = Duration::from_secs(1);
        let most = Duration::from_secs(30);
        for attempt in 1..200 {
            let whole = most.min(first * 2_u32.pow(attempt.min(10) - 1));
            let wait = wait(attempt, first, most);
            assert!(wait >= whole / 2 && wait <= whole, "{attempt}: {wait:?}");
        }
    }

    #[test]
    fn two_nodes_wait_differently() {
        let waits: Vec<_> = (0..8)
            .map(|_| wait(5, Duration::from_secs(1), Duration::from_mins(1)))
            .collect();
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }
}
