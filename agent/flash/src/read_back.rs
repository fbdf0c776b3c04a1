//! Pieces are read back from the medium and compared with the manifest.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use gild_format::chunk;
use gild_format::manifest::Chunk;

use crate::crew::{Crew, Worker};
use crate::head;
use crate::plan::{self, Piece, parts};
use crate::progress::Progress;
use crate::run::{Flash, lock};
use crate::{FlashError, Stage};

/// The size of a sample in a hole that the target itself zeroed. Each piece has one at each end and one in the middle.
const SAMPLE: usize = 4096;

/// A piece that reads back wrong.
pub struct Wrong {
    pub piece: Piece,
    pub offset: u64,
    pub finding: Finding,
}

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum Finding {
    #[error("{0}")]
    Unreadable(FlashError),
    #[error("{0}")]
    Differs(String),
}

impl Flash<'_> {
    /// Reads the pieces back from the medium and returns those that are wrong, in order.
    pub fn read_back(
        &self,
        crew: &mut Crew,
        pieces: &[Piece],
        stage: Stage,
    ) -> Result<Vec<Wrong>, FlashError> {
        let progress = self.progress(stage, pieces);
        let wrong = Mutex::new(Vec::new());
        let left = Mutex::new(pieces.iter());
        crew.run(
            || lock(&left).next(),
            |worker, piece| {
                if let Err(found) = self.check(worker, piece, &progress) {
                    lock(&wrong).push(found);
                }
                self.advance(&progress, piece);
                Ok(())
            },
        )?;
        let mut wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
        wrong.sort_by_key(|wrong| wrong.offset);
        Ok(wrong)
    }

    /// Reads one piece back.
    pub fn check(
        &self,
        worker: &mut Worker,
        piece: &Piece,
        progress: &Progress<'_>,
    ) -> Result<(), Wrong> {
        let found = match piece {
            Piece::Data(index) => self
                .check_chunk(worker, self.chunk(*index), progress)
                .map(|()| self.remember(worker, *index)),
            Piece::Hole(hole) => self.check_hole(worker, hole, progress),
        };
        found.map_err(|(offset, finding)| Wrong {
            piece: piece.clone(),
            offset,
            finding,
        })
    }

    fn check_chunk(
        &self,
        worker: &mut Worker,
        chunk: &Chunk,
        progress: &Progress<'_>,
    ) -> Result<(), (u64, Finding)> {
        let raw = &mut worker.raw[..chunk.raw_length as usize];
        let (withheld, rest) = raw.split_at_mut(plan::withheld(chunk));
        if !withheld.is_empty() {
            withheld.copy_from_slice(&lock(&self.head)[head::range_of(chunk)]);
        }
        self.medium
            .read(rest, chunk.raw_offset + withheld.len() as u64, progress)
            .map_err(|error| (chunk.raw_offset, Finding::Unreadable(error)))?;
        self.tally.bytes_hashed.add(chunk.raw_length.into());
        chunk::check(chunk, raw)
            .map_err(|error| (chunk.raw_offset, Finding::Differs(error.to_string())))
    }

    /// Reads back a hole. If the target itself zeroed it, samples are enough, unless its zeroing was found to fail or the job wants holes
    /// read in full.
    fn check_hole(
        &self,
        worker: &mut Worker,
        hole: &Range<u64>,
        progress: &Progress<'_>,
    ) -> Result<(), (u64, Finding)> {
        let parts: Vec<_> = if self.zeroing_failed || self.job.options.read_holes {
            parts(hole, worker.raw.len()).collect()
        } else {
            samples(hole)
        };
        for (offset, length) in parts {
            let bytes = &mut worker.raw[..length];
            self.medium
                .read(bytes, offset, progress)
                .map_err(|error| (offset, Finding::Unreadable(error)))?;
            self.tally.hole_bytes_read_back.add(bytes.len() as u64);
            if !chunk::is_zero(bytes) {
                let reason = "a hole that does not read zero".to_owned();
                return Err((offset, Finding::Differs(reason)));
            }
        }
        Ok(())
    }
}

/// The places to sample in a range: both ends and the middle, or everything if it is short.
pub fn samples(range: &Range<u64>) -> Vec<(u64, usize)> {
    let sample = SAMPLE as u64;
    if range.end - range.start <= 3 * sample {
        return parts(range, SAMPLE).collect();
    }
    let middle = range.start + (range.end - range.start) / 2 / sample * sample;
    [range.start, middle, range.end - sample]
        .map(|offset| (offset, SAMPLE))
        .to_vec()
}
