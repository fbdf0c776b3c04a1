//! What is in memory, and is to be on a disk.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::say::say;
use crate::systemd::apart;

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);

/// Writes the root file system out, and all others if they take it: one on a server that does not answer would hold this up
/// forever.
pub fn all(root: &Path) -> Result<()> {
    let root = File::open(root).context("opening the root directory")?;
    nix::unistd::syncfs(&root).context("writing the root file system out")?;
    let ended = ends_within(&mut Command::new("sync"), PATIENCE);
    if !ended.context("running sync")? {
        say(&format!(
            "not every file system was written out within {} seconds: a disk or a server does not answer. This goes on without \
             what was meant for it",
            PATIENCE.as_secs()
        ));
    }
    Ok(())
}

/// Whether the program ends well within this time. One that waits for a disk cannot even be killed, and is left.
fn ends_within(program: &mut Command, patience: Duration) -> io::Result<bool> {
    let mut child = apart(program).stdin(Stdio::null()).spawn()?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if start.elapsed() > patience {
            child.kill()?;
            return Ok(false);
        }
        sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_is_left() {
        let start = Instant::now();
        let mut program = Command::new("sleep");
        let ended = ends_within(program.arg("50"), Duration::from_millis(200));
        assert!(!ended.expect("a program"));
        assert!(start.elapsed() < Duration::from_secs(20));
        let ended = ends_within(&mut Command::new("true"), Duration::from_secs(20));
        assert!(ended.expect("a program"));
    }
}
