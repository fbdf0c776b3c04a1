//! Reads samples of everything a second time, when nothing is left to write.
//!
//! A disk that is smaller than it claims uses one place for two addresses. Another disk may write to the wrong place. On such disks a later
//! write damages what was already read back correctly, so samples of each chunk and of each hole are read once more at the end.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use gild_format::Sha256Hex;
use gild_format::chunk::{self, sha256};

use crate::FlashError;
use crate::crew::{Crew, Worker};
use crate::plan::{self, Piece};
use crate::read_back::{Finding, Wrong, samples};
use crate::run::{Flash, lock};

impl Flash<'_> {
    /// Remembers the samples of this chunk, which the worker has just read back correctly.
    pub fn remember(&self, worker: &Worker, index: usize) {
        let chunk = self.chunk(index);
        let rest = &worker.raw[plan::withheld(chunk)..chunk.raw_length as usize];
        let mut bytes = Vec::new();
        for (at, length) in samples(&(0..rest.len() as u64)) {
            // A chunk fits into memory.
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            bytes.extend_from_slice(&rest[at..at + length]);
        }
        lock(&self.fingerprints).insert(index, sha256(&bytes));
    }

    /// Reads all samples again and returns the pieces whose samples have changed.
    pub fn look_again(&self, crew: &mut Crew) -> Result<Vec<Wrong>, FlashError> {
        let fingerprints = lock(&self.fingerprints).clone();
        let chunks = fingerprints.keys().map(|index| Piece::Data(*index));
        let left = Mutex::new(chunks.chain(self.holes()));
        let changed = Mutex::new(Vec::new());
        crew.run(
            || lock(&left).next(),
            |worker, piece| {
                let (offset, found) = match &piece {
                    Piece::Data(index) => {
                        let found = self.compare(worker, *index, fingerprints[index]);
                        (self.chunk(*index).raw_offset, found)
                    }
                    Piece::Hole(hole) => (hole.start, self.is_still_zero(worker, hole)),
                };
                if let Err(finding) = found {
                    lock(&changed).push(Wrong {
                        piece,
                        offset,
                        finding,
                    });
                }
                Ok(())
            },
        )?;
        Ok(changed.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// All holes of the image, also those that an earlier start has made.
    pub fn holes(&self) -> impl Iterator<Item = Piece> + use<> {
        let pieces = plan::pieces(self.job.manifest).into_iter();
        pieces.filter(|piece| matches!(piece, Piece::Hole(_)))
    }

    fn is_still_zero(&self, worker: &mut Worker, hole: &Range<u64>) -> Result<(), Finding> {
        for (offset, length) in samples(hole) {
            let bytes = &mut worker.raw[..length];
            self.medium
                .read_sample(bytes, offset)
                .map_err(Finding::Unreadable)?;
            if !chunk::is_zero(bytes) {
                let reason =
                    "a hole that read zero does not any more: a later write has changed it";
                return Err(Finding::Differs(reason.to_owned()));
            }
        }
        Ok(())
    }

    fn compare(
        &self,
        worker: &mut Worker,
        index: usize,
        fingerprint: Sha256Hex,
    ) -> Result<(), Finding> {
        let chunk = self.chunk(index);
        let start = chunk.raw_offset + plan::withheld(chunk) as u64;
        let mut read = 0;
        for (offset, length) in samples(&(start..chunk.raw_offset + u64::from(chunk.raw_length))) {
            self.medium
                .read_sample(&mut worker.raw[read..read + length], offset)
                .map_err(Finding::Unreadable)?;
            read += length;
        }
        if sha256(&worker.raw[..read]) == fingerprint {
            return Ok(());
        }
        let reason = "a chunk that was right is not what it was: a later write has changed it";
        Err(Finding::Differs(reason.to_owned()))
    }
}
