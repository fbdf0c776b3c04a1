//! Writes what is still in memory to the disks.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::bounded;
use crate::say::say;

const PATIENCE: Duration = Duration::from_secs(30);

/// Flushes the root file system. It also flushes all others, but waits for them only for a limited time: one on a server that does not
/// answer would take forever.
pub fn all(root: &Path) -> Result<()> {
    let root = File::open(root).context("opening the root directory")?;
    nix::unistd::syncfs(&root).context("writing the root file system out")?;
    let ended = bounded::run(&mut Command::new("sync"), PATIENCE).context("running sync")?;
    if !ended.is_some_and(|status| status.success()) {
        say(&format!(
            "not every file system was written out within {} seconds: a disk or a server does not answer. This goes on without \
             what was meant for it",
            PATIENCE.as_secs()
        ));
    }
    Ok(())
}
