//! Opens files that others may have put there. If it were a named pipe, a plain open would block forever.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// With these flags, opening a file never blocks.
pub const FLAGS: OFlag = OFlag::O_NONBLOCK
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);

/// The text of a regular file.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(FLAGS.bits())
        .open(path)?;
    let mut text = String::new();
    only(file)?.read_to_string(&mut text)?;
    Ok(text)
}

/// This file, if it is a regular one.
pub fn only(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}
