//! The target as the engine uses it: in short transfers that are counted, told, and named when they fail.

use std::io;
use std::ops::Range;

use gild_disk::{TRANSFER, Target, ZeroMethod};

use crate::FlashError;
use crate::progress::{Progress, Tally};

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
