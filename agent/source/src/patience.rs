//! How long to wait for a server, and when to give up.

use std::fmt;
use std::time::Duration;

/// A server that asks to be left alone for longer is asked again after this time.
pub const LONGEST_ASKED: Duration = Duration::from_mins(2);

/// What went wrong with a server.
pub trait Trouble: fmt::Display {
    /// Whether waiting can help: the server may come back, or its operator may repair it.
    fn is_retryable(&self) -> bool;

    /// Whether the server, or something on the way to it, ended a connection that was good until then. The server may still be
    /// there, and answer on another connection at once.
    fn is_cut_off(&self) -> bool {
        false
    }

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

    /// Whether the patience has ended for all threads. A thread that still waits for an answer then gives up too.
    fn is_over(&self) -> bool {
        false
    }

    /// Called after every read and every other exchange that went well, because a slow server also makes progress.
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::{Patience, Trouble, persist};

    struct Busy;

    impl std::fmt::Display for Busy {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("busy")
        }
    }

    impl Trouble for Busy {
        fn is_retryable(&self) -> bool {
            true
        }
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
        let busy = || Err::<(), _>(Busy);
        assert!(persist(&count, busy).is_err());
        assert_eq!(served(), 0);
        assert!(persist(&count, || Ok::<_, Busy>(())).is_ok());
        assert_eq!(served(), 1);
    }
}
