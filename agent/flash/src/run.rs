//! The state of a running flash: what the stages and the workers share.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gild_disk::{AlignedBuffer, ZeroMethod};
use gild_format::Sha256Hex;
use gild_format::manifest::Chunk;

use crate::head;
use crate::medium::Medium;
use crate::plan::{self, Piece};
use crate::progress::{Progress, Tally};
use crate::{Event, Job, Outcome, Report, Stage};

/// The state of a running flash, shared by the workers.
pub struct Flash<'a> {
    pub job: &'a Job<'a>,
    pub tally: &'a Tally,
    pub medium: Medium<'a>,
    pub head: Mutex<AlignedBuffer>,
    /// The SHA-256 of the samples of each chunk that was read back right.
    pub fingerprints: Mutex<BTreeMap<usize, Sha256Hex>>,
    pub zero_method: Mutex<Option<ZeroMethod>>,
    pub zeroing_failed: bool,
    pub is_discarded: bool,
    pub kept: usize,
    pub stages: Vec<(Stage, Duration)>,
}

impl<'a> Flash<'a> {
    pub fn new(job: &'a Job<'a>, tally: &'a Tally) -> Self {
        Self {
            job,
            tally,
            medium: Medium {
                target: job.target,
                tally,
            },
            head: Mutex::new(AlignedBuffer::new(head::LENGTH)),
            fingerprints: Mutex::default(),
            zero_method: Mutex::new(None),
            zeroing_failed: false,
            is_discarded: false,
            kept: 0,
            stages: Vec::new(),
        }
    }

    pub fn chunk(&self, index: usize) -> &'a Chunk {
        &self.job.manifest.chunks[index]
    }

    pub fn range(&self, piece: &Piece) -> Range<u64> {
        match piece {
            Piece::Data(index) => {
                let chunk = self.chunk(*index);
                chunk.raw_offset..chunk.raw_offset + u64::from(chunk.raw_length)
            }
            Piece::Hole(hole) => hole.clone(),
        }
    }

    pub fn data_length(&self, piece: &Piece) -> u64 {
        match piece {
            Piece::Data(index) => self.chunk(*index).raw_length.into(),
            Piece::Hole(_) => 0,
        }
    }

    fn hole_bytes(&self) -> u64 {
        let pieces = plan::pieces(self.job.manifest);
        let holes = pieces.iter().map(|piece| match piece {
            Piece::Hole(hole) => hole.end - hole.start,
            Piece::Data(_) => 0,
        });
        holes.sum()
    }

    pub fn data_chunks(&self) -> usize {
        let chunks = &self.job.manifest.chunks;
        chunks.iter().filter(|chunk| !chunk.hole).count()
    }

    pub fn progress(&self, stage: Stage, pieces: &[Piece]) -> Progress<'a> {
        let total = pieces.iter().map(|piece| self.data_length(piece)).sum();
        Progress::new(self.job.observer, stage, total)
    }

    pub fn advance(&self, progress: &Progress<'_>, piece: &Piece) {
        progress.advance(self.data_length(piece));
    }

    pub fn retry(&self, chunk: usize, attempt: u32, reason: &str) {
        self.job.observer.event(Event::Retry {
            chunk,
            attempt,
            reason,
        });
    }

    pub fn report(self, outcome: Outcome) -> Report {
        let tally = self.tally;
        Report {
            outcome,
            bytes_fetched: tally.bytes_fetched.get(),
            bytes_hashed: tally.bytes_hashed.get(),
            bytes_written: tally.bytes_written.get(),
            bytes_zeroed: tally.bytes_zeroed.get(),
            bytes_discarded: tally.bytes_discarded.get(),
            bytes_read_back: tally.bytes_read_back.get(),
            hole_bytes_read_back: tally.hole_bytes_read_back.get(),
            hole_bytes: self.hole_bytes(),
            chunks: self.data_chunks(),
            chunks_kept: match outcome {
                Outcome::Flashed => self.kept,
                Outcome::AlreadyDone => self.data_chunks(),
            },
            chunks_fetched: tally.chunks_fetched.get(),
            chunks_damaged: tally.chunks_damaged.get(),
            chunks_rewritten: tally.chunks_rewritten.get(),
            zero_method: *lock(&self.zero_method),
            zeroing_failed: self.zeroing_failed,
            stages: self.stages,
        }
    }
}

/// If a worker panicked, the flash has ended and nobody uses its data any more. So a poisoned lock does no harm.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
