//! Patience with the image server: waits that say so, and an end to them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use gild_source::{Backoff, Patience, Trouble};
use log::info;

use crate::led::Pattern;
use crate::machine::Machine;

/// Longest wait between two attempts: a server that is back should not stand idle.
const LONGEST: Duration = Duration::from_secs(5);

/// Waits for the server until the machine's patience has run out; then it is a fault, and the story starts again.
pub struct ServerPatience {
    machine: &'static Machine,
    backoff: Backoff,
    /// Since when each reading thread has had no success.
    since: Mutex<HashMap<ThreadId, Instant>>,
}

impl ServerPatience {
    /// Patience that has not been tried yet.
    pub fn new(machine: &'static Machine) -> Self {
        Self {
            machine,
            backoff: Backoff::forever()
                .at_most(LONGEST)
                .sleep_with(|time| machine.wait(time)),
            since: Mutex::new(HashMap::new()),
        }
    }

    fn is_over(&self, attempt: u32, least: Duration) -> bool {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let began = since.entry(thread::current().id()).or_insert(now);
        if attempt == 1 {
            *began = now;
        }
        let is_over = now.saturating_duration_since(*began) >= self.machine.patience();
        // The time for which a server asks to be left alone does not count: it is there.
        *began = (*began + least).max(*began);
        is_over
    }
}

impl Patience for ServerPatience {
    fn wait(&self, attempt: u32, trouble: &dyn Trouble) -> bool {
        if self.is_over(attempt, trouble.least_wait()) {
            return false;
        }
        info!("waiting: {trouble} (attempt {attempt})");
        self.machine.show(Pattern::WaitingForServer);
        self.backoff.wait(attempt, trouble)
    }

    fn waiting(&self, _silence: Duration) {
        self.machine.alive();
    }

    fn got_on(&self) {
        self.machine.alive();
    }
}
