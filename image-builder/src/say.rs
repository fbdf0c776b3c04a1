//! What a command prints on standard output: the `print!` and `println!` of this crate.
//!
//! The standard library's macros panic when the output cannot be written. Here the command goes on, because its work must not end
//! when its reader does. A reader that closes the pipe has read enough. Every other failure is the command's error once its work
//! is done.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::{Mutex, PoisonError};

/// Takes the place of the standard library's macro in this crate.
macro_rules! print {
    ($($text:tt)*) => {
        $crate::say::say(format_args!($($text)*))
    };
}

/// Takes the place of the standard library's macro in this crate.
macro_rules! println {
    ($($text:tt)*) => {
        $crate::say::say(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// Why standard output failed. Nothing is printed after the first failure: a text with a gap would mislead.
static CLOSED: Mutex<Option<io::Error>> = Mutex::new(None);

/// Not all of the output is where it should be.
#[derive(Debug, thiserror::Error)]
#[error(
    "standard output does not take what this command prints: {0}; the command went on without it; next: make room where the output \
     goes, or send it to another place"
)]
pub struct Unsaid(pub io::Error);

/// Prints, as far as standard output takes it.
pub fn say(text: fmt::Arguments<'_>) {
    let mut closed = CLOSED.lock().unwrap_or_else(PoisonError::into_inner);
    if closed.is_none() {
        let mut out = io::stdout().lock();
        *closed = out.write_fmt(text).and_then(|()| out.flush()).err();
    }
}

/// Prints what has been done to a disk, and says it on standard error where standard output takes nothing.
pub fn say_done(text: &str) {
    say(format_args!("{text}\n"));
    let closed = CLOSED.lock().unwrap_or_else(PoisonError::into_inner);
    if closed.is_some() {
        log::info!("{text}");
    }
}

/// Whether all was printed that somebody wanted to read.
pub fn finish() -> Result<(), Unsaid> {
    let closed = CLOSED.lock().unwrap_or_else(PoisonError::into_inner).take();
    match closed {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => Err(Unsaid(error)),
        _ => Ok(()),
    }
}
