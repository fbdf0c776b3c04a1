//! At most two virtual boards run at once, over all test processes: an emulated core takes a whole real one.

use std::fs::{File, TryLockError};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::workspace;

const SLOTS: usize = 2;

/// The right to run one virtual board, until dropped.
pub struct Slot {
    _lock: File,
}

impl Slot {
    /// Waits for a free slot.
    pub fn take() -> Result<Self> {
        let directory = workspace::directory("locks")?;
        let mut told = false;
        loop {
            for slot in 0..SLOTS {
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
            if !told {
                eprintln!(
                    "{SLOTS} virtual boards are running already: waiting for one of them to end"
                );
                told = true;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
