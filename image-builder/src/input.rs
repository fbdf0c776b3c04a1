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

/// The text in a file. gild reads UTF-8, and some editors and shells write something else.
pub fn text_in(bytes: Vec<u8>, path: &Path, what: &str) -> Result<String, InputError> {
    let is = |state| InputError::new(path, what, state, "save it as plain text in UTF-8");
    if is_utf_16(&bytes) {
        return Err(is("text in UTF-16"));
    }
    String::from_utf8(bytes).map_err(|_| is("not text in UTF-8"))
}

/// Whether it begins as UTF-16 does: with its byte order mark, or with a character of ASCII in two bytes.
fn is_utf_16(bytes: &[u8]) -> bool {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => true,
        [0, one, ..] | [one, 0, ..] => one.is_ascii_graphic() || one.is_ascii_whitespace(),
        _ => false,
    }
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
