//! The files and folders that a command is given.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Result, bail};

/// Says what was wanted, and what to give, where nothing is. Whatever else is wrong with it, its reader says.
pub fn must_exist(path: &Path, what: &str, next_step: &str) -> Result<()> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("{what} {} is not there; next: {next_step}", path.display())
        }
        _ => Ok(()),
    }
}
