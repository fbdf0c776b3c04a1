//! Only one gild-seed at a time may change the files of a node. It may run from a timer, by hand, or at boot.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use anyhow::{Context, Result};

use crate::files;

const LOCK: &str = "run/gild/seed.lock";

/// The right to change files, until it is dropped.
pub struct Turn(#[allow(dead_code, reason = "the lock lives as long as the file is open")] File);

impl Turn {
    /// Waits until no other program has the turn.
    pub fn wait(root: &Path) -> Result<Self> {
        let file = open(root)?;
        file.lock().context("waiting for another gild-seed")?;
        Ok(Self(file))
    }

    /// Takes the turn. `None` if another program has it.
    pub fn take(root: &Path) -> Result<Option<Self>> {
        let file = open(root)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).context("looking for another gild-seed"),
        }
    }
}

fn open(root: &Path) -> Result<File> {
    let path = root.join(LOCK);
    let open = || {
        if let Some(directory) = path.parent() {
            files::private_directory(directory)?;
        }
        OpenOptions::new().create(true).append(true).open(&path)
    };
    open().with_context(|| format!("opening {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_a_turn_that_another_has() {
        let root = tempfile::tempdir().expect("a directory");
        let first = Turn::wait(root.path()).expect("a turn");
        assert!(Turn::take(root.path()).expect("a look").is_none());
        drop(first);
        assert!(Turn::take(root.path()).expect("a look").is_some());
    }
}
