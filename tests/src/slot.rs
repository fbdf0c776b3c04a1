//! Limits how many virtual boards run at a time, across all test processes: one more than this machine has cores. An emulated core takes a
//! whole real one while it works, but most of the time it waits for a clock.

use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// No test needs a board for this long. It measures nothing; it only ends tests that wait for each other.
const PATIENCE: Duration = Duration::from_mins(30);

/// At most this many boards run at a time.
#[must_use]
pub fn count() -> usize {
    1 + std::thread::available_parallelism().map_or(1, usize::from)
}

/// The right to run one virtual board, until dropped.
pub struct Slot {
    _lock: File,
}

impl Slot {
    /// Waits for a free slot.
    pub fn take() -> Result<Self> {
        let directory = workspace::directory("locks")?;
        let slots = count();
        let mut has_said = false;
        let deadline = Instant::now() + PATIENCE;
        loop {
            for slot in 0..slots {
                let path = directory.join(format!("board-{slot}"));
                let file =
                    File::create(&path).with_context(|| format!("creating {}", path.display()))?;
                match file.try_lock() {
                    Ok(()) => return Ok(Self { _lock: file }),
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => {
                        return Err(error).with_context(|| format!("locking {}", path.display()));
                    }
                }
            }
            if !has_said {
                eprintln!(
                    "{slots} virtual boards are running already: waiting for one of them to end"
                );
                has_said = true;
            }
            ensure!(
                Instant::now() < deadline,
                "{slots} virtual boards run, and no slot was free for {} minutes",
                PATIENCE.as_secs() / 60
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
