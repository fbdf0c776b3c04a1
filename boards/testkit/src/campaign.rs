//! Long runs of random power cuts.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use fastrand::Rng;

/// How many cuts, and where their randomness comes from.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    cuts: u64,
    seed: u64,
}

impl Campaign {
    /// What `GILD_CUTS` and `GILD_SEED` say; without them as many cuts as an ordinary test has time for, the same each time.
    pub fn from_environment(cuts: u64) -> Self {
        let number = |name, default| match env::var(name) {
            Ok(text) => text.parse().unwrap_or_else(|_| {
                panic!("{name}={text} is not a number; next: give one, or unset it")
            }),
            Err(_) => default,
        };
        Self {
            cuts: number("GILD_CUTS", cuts),
            seed: number("GILD_SEED", 0),
        }
    }

    /// Runs one trial for each cut. A trial that panics has found a cut that nothing recovers from. Each has a seed of its
    /// own, so that it can be run again alone.
    pub fn run(self, what: &str, trial: impl Fn(&mut Rng) + Sync) {
        let Self { cuts, seed } = self;
        let (next, lost) = (AtomicU64::new(0), AtomicU64::new(0));
        let work = || {
            loop {
                let cut = next.fetch_add(1, Ordering::Relaxed);
                if cut >= cuts {
                    break;
                }
                let seed = seed.wrapping_add(cut);
                let trial = || trial(&mut Rng::with_seed(seed));
                if catch_unwind(AssertUnwindSafe(trial)).is_err() {
                    println!(
                        "{what}: unrecoverable; to see it alone: GILD_CUTS=1 GILD_SEED={seed}"
                    );
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
                scope.spawn(work);
            }
        });
        let lost = lost.into_inner();
        println!("{what}: {cuts} power cuts from seed {seed}, {lost} unrecoverable");
        assert_eq!(lost, 0, "{what}: nothing recovers from {lost} cuts");
    }
}

#[cfg(test)]
mod tests {
    use super::Campaign;

    #[test]
    fn every_cut_has_its_trial() {
        let seen = std::sync::Mutex::new(std::collections::BTreeSet::new());
        Campaign { cuts: 50, seed: 7 }.run("a test", |random| {
            seen.lock().expect("no trial panics").insert(random.u64(..));
        });
        assert_eq!(seen.into_inner().expect("no trial panics").len(), 50);
    }

    #[test]
    #[should_panic(expected = "nothing recovers from 1 cuts")]
    fn a_trial_that_panics_is_counted() {
        let first = fastrand::Rng::with_seed(7).u64(..);
        Campaign { cuts: 50, seed: 7 }.run("a test", |random| assert_ne!(random.u64(..), first));
    }
}
