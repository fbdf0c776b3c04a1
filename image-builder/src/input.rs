//! The files and folders that a command is given.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What was given is not there, or is a folder.
#[derive(Debug, thiserror::Error)]
#[error("{what} {} is {state}; next: {next_step}", path.display())]
pub struct InputError {
    what: String,
    path: PathBuf,
    state: &'static str,
    next_step: String,
}

impl InputError {
    fn new(path: &Path, what: &str, state: &'static str, next_step: &str) -> Self {
        Self {
            what: what.to_owned(),
            path: path.to_owned(),
            state,
            next_step: next_step.to_owned(),
        }
    }

    /// A folder instead of a file.
    pub fn folder(path: &Path, what: &str, next_step: &str) -> Self {
        Self::new(path, what, "a folder", next_step)
    }
}

/// Says what was wanted, and what to give, where nothing is. Whatever else is wrong with it, its reader says.
pub fn must_exist(path: &Path, what: &str, next_step: &str) -> Result<(), InputError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(InputError::new(path, what, "not there", next_step))
        }
        _ => Ok(()),
    }
}

/// The same where a file is wanted, or a disk: a folder is not one.
pub fn must_be_file(path: &Path, what: &str, next_step: &str) -> Result<(), InputError> {
    must_exist(path, what, next_step)?;
    if path.is_dir() {
        return Err(InputError::folder(path, what, next_step));
    }
    Ok(())
}

/// The same for a file that others may have put there: a pipe could be waited for forever.
pub fn must_be_regular(path: &Path, what: &str, next_step: &str) -> Result<(), InputError> {
    must_be_file(path, what, next_step)?;
    match fs::metadata(path) {
        Ok(about) if !about.is_file() => Err(InputError::new(path, what, "not a file", next_step)),
        _ => Ok(()),
    }
}
