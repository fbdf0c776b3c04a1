//! Disks that an input stands for.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::sparse;

/// A disk of zeros with the pieces of an input in it, without the memory for the zeros.
pub struct Disk<'a> {
    pieces: Vec<(u64, &'a [u8])>,
    length: u64,
    position: u64,
}

impl<'a> Disk<'a> {
    /// The disk of this length.
    #[must_use]
    pub fn new(input: &'a [u8], length: u64) -> Self {
        let pieces = sparse::pieces(input).map(|(place, bytes)| (place as u64, bytes));
        Self {
            pieces: pieces.collect(),
            length,
            position: 0,
        }
    }
}

impl Read for Disk<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(self.position);
        let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let (start, end) = (self.position, self.position + length as u64);
        buffer[..length].fill(0);
        for (place, bytes) in &self.pieces {
            let (from, to) = (start.max(*place), end.min(place + bytes.len() as u64));
            if from < to {
                let within =
                    |at: u64, base: u64| usize::try_from(at - base).expect("in the buffer");
                buffer[within(from, start)..within(to, start)]
                    .copy_from_slice(&bytes[within(from, *place)..within(to, *place)]);
            }
        }
        self.position = end;
        Ok(length)
    }
}

impl Seek for Disk<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// A file of this length with the pieces of an input in it and zeros elsewhere.
///
/// # Panics
///
/// If the machine has no room for a temporary file.
#[must_use]
pub fn file(input: &[u8], length: u64) -> Arc<File> {
    // In memory where there is such a folder: a target opens thousands of them in a second.
    let file = tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile());
    let file = file.expect("room for a temporary file");
    for (place, bytes) in sparse::pieces(input) {
        if (place as u64) < length {
            file.write_all_at(bytes, place as u64).expect("room for it");
        }
    }
    file.set_len(length).expect("room for it");
    Arc::new(file)
}
