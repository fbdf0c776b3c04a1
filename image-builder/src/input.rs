//! The files and folders that a command is given.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;
use gild_golden::text;

/// What was given is not there, or is a folder.
#[derive(Debug, thiserror::Error)]
#[error("{what} {} is {state}; next: {next_step}", path.display())]
pub struct InputError {
    what: String,
    path: PathBuf,
    state: String,
    next_step: String,
}

impl InputError {
    fn new(path: &Path, what: &str, state: impl Into<String>, next_step: &str) -> Self {
        Self {
            what: what.to_owned(),
            path: path.to_owned(),
            state: state.into(),
            next_step: next_step.to_owned(),
        }
    }

    /// A folder instead of a file.
    pub fn folder(path: &Path, what: &str, next_step: &str) -> Self {
        Self::new(path, what, "a folder", next_step)
    }
}

/// Refuses a path at which there is nothing, and says what was wanted and what to give. Other problems are reported by the code
/// that reads the file.
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

/// The text in a file that people write.
pub fn text_of(path: &Path, what: &str) -> anyhow::Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text_in(bytes, path, what)?)
}

/// The text in the bytes of a file.
pub fn text_in(bytes: Vec<u8>, path: &Path, what: &str) -> Result<String, InputError> {
    text::of(bytes).map_err(|not| InputError::new(path, what, not.to_string(), text::NEXT))
}

/// The same for a file that others may have put there: a pipe could be waited for forever.
pub fn must_be_regular(path: &Path, what: &str, next_step: &str) -> Result<(), InputError> {
    must_be_file(path, what, next_step)?;
    match fs::metadata(path) {
        Ok(about) if !about.is_file() => Err(InputError::new(path, what, "not a file", next_step)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_not_in_utf_8_is_named_with_what_to_do() {
        let said = |bytes: &[u8]| {
            let read = text_in(bytes.to_vec(), Path::new("gild.toml"), "the configuration");
            read.map_err(|error| error.to_string())
        };
        let utf_16 =
            "the configuration gild.toml is text in UTF-16; next: save it as plain text in UTF-8";
        for bytes in [&b"\xff\xfes\0"[..], b"\xfe\xff\0s", b"s\0e\0", b"\0s\0e"] {
            assert_eq!(said(bytes), Err(utf_16.to_owned()));
        }
        let other = said(b"serial = \"\xfc\"").expect_err("Latin 1");
        assert!(other.contains("is not text in UTF-8; next: "), "{other}");
        for text in ["", "s", "\u{feff}server", "ü"] {
            assert_eq!(said(text.as_bytes()), Ok(text.to_owned()));
        }
    }
}
