//! The target as the engine uses it: in short transfers. Each is counted and reported, and named if it fails.

use std::io;
use std::ops::Range;

use gild_disk::{TRANSFER, Target, ZeroMethod};

use crate::FlashError;
use crate::progress::{Progress, Tally};

/// The most bytes to discard in one call. A disk may take seconds for a large range, and each call is a sign of life.
const DISCARD: u64 = 4 << 30;
/// The most bytes to zero in one call. A disk without a command for it writes every zero.
const ZEROS: u64 = 256 << 20;

#[derive(Clone, Copy)]
pub struct Medium<'a> {
    pub target: &'a dyn Target,
    pub tally: &'a Tally,
}

impl Medium<'_> {
    pub fn write(
        &self,
        data: &[u8],
        offset: u64,
        progress: &Progress<'_>,
    ) -> Result<(), FlashError> {
        let mut at = offset;
        for part in data.chunks(TRANSFER) {
            self.target.write_at(part, at).map_err(|error| {
                self.failed(format!("writing {} bytes at {at} of", part.len()), error)
            })?;
            self.tally.bytes_written.add(part.len() as u64);
            progress.alive();
            at += part.len() as u64;
        }
        Ok(())
    }

    pub fn read(
        &self,
        buffer: &mut [u8],
        offset: u64,
        progress: &Progress<'_>,
    ) -> Result<(), FlashError> {
        let mut at = offset;
        for part in buffer.chunks_mut(TRANSFER) {
            let length = part.len();
            self.target.read_at(part, at).map_err(|error| {
                self.failed(format!("reading {length} bytes at {at} of"), error)
            })?;
            self.tally.bytes_read_back.add(length as u64);
            progress.alive();
            at += length as u64;
        }
        Ok(())
    }

    /// Reads a few bytes that were read back before. They are not counted a second time.
    pub fn read_sample(&self, buffer: &mut [u8], offset: u64) -> Result<(), FlashError> {
        let length = buffer.len();
        self.target
            .read_at(buffer, offset)
            .map_err(|error| self.failed(format!("reading {length} bytes at {offset} of"), error))
    }

    /// Has the target make the range zero.
    pub fn zero(
        &self,
        range: &Range<u64>,
        progress: &Progress<'_>,
    ) -> Result<ZeroMethod, FlashError> {
        let length = range.end - range.start;
        let method = self.target.zero(range.start, length).map_err(|error| {
            self.failed(
                format!("zeroing {length} bytes at {} of", range.start),
                error,
            )
        })?;
        self.tally.bytes_zeroed.add(length);
        progress.alive();
        Ok(method)
    }

    /// The same for a range of any length. Each part is a sign of life.
    pub fn zero_all(&self, range: Range<u64>, progress: &Progress<'_>) -> Result<(), FlashError> {
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min(at + ZEROS);
            self.zero(&(at..end), progress)?;
            at = end;
        }
        Ok(())
    }

    /// Discards the range, and returns whether the target did so. Nothing depends on it: nobody knows what a discarded range reads as, and
    /// everything that matters is written later.
    pub fn discard(&self, range: Range<u64>, progress: &Progress<'_>) -> bool {
        if !range.is_empty() && !progress.may_discard() {
            return false;
        }
        let mut at = range.start;
        while at < range.end {
            let length = (range.end - at).min(DISCARD);
            if let Err(error) = self.target.discard(at, length) {
                log::info!(
                    "{} is not discarded before it is written: {error}",
                    self.target.name()
                );
                return false;
            }
            self.tally.bytes_discarded.add(length);
            progress.alive();
            at += length;
        }
        true
    }

    pub fn flush(&self) -> Result<(), FlashError> {
        self.target
            .flush()
            .map_err(|error| self.failed("flushing".to_owned(), error))
    }

    /// Names what failed.
    pub fn failed(&self, action: String, error: io::Error) -> FlashError {
        FlashError::Target {
            action,
            target: self.target.name().to_owned(),
            error,
        }
    }
}
