//! Writes chunks from the source to the target, zeroes holes, and meanwhile reads back what is already on the medium.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use gild_disk::ZeroMethod;
use gild_format::chunk::ChunkError;
use gild_format::manifest::Chunk;

use crate::ahead::Ahead;
use crate::crew::{Crew, Worker};
use crate::head;
use crate::plan::{self, ATTEMPTS, Piece, parts};
use crate::progress::Progress;
use crate::read_back::Wrong;
use crate::run::{Flash, lock};
use crate::turns::{Turn, Turns};
use crate::{FlashError, Stage};

/// What was written.
pub struct Written {
    /// These are not read back yet, and may still be in the target's cache.
    pub unread: Vec<Piece>,
    /// Read back, and wrong.
    pub wrong: Vec<Wrong>,
}

impl Flash<'_> {
    /// Writes the pieces. Meanwhile it reads back what a flush has put on the medium.
    pub fn write(&mut self, crew: &mut Crew, pieces: &[Piece]) -> Result<Written, FlashError> {
        let progress = self.progress(Stage::Write, pieces);
        let lengths = pieces.iter().map(|piece| self.data_length(piece));
        let turns = Mutex::new(Turns::new(
            lengths.collect(),
            self.job.manifest.chunk_size.into(),
            crew.workers(),
        ));
        let wrong = Mutex::new(Vec::new());
        let ahead = Ahead::new(self.job.source, self.stored(pieces));
        std::thread::scope(|scope| {
            let _fetching = ahead.start(scope);
            crew.run(
                || lock(&turns).begin(),
                |worker, turn| {
                    match &turn {
                        Turn::Write(number) => {
                            self.put(worker, &ahead, &pieces[*number], &progress)?;
                        }
                        Turn::Flush(_) => self.medium.flush()?,
                        Turn::ReadBack(number) => {
                            if let Err(found) = self.check(worker, &pieces[*number], &progress) {
                                lock(&wrong).push(found);
                            }
                        }
                    }
                    lock(&turns).end(turn);
                    Ok(())
                },
            )
        })?;
        let turns = turns.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Written {
            unread: turns.left().map(|number| pieces[number].clone()).collect(),
            wrong: wrong.into_inner().unwrap_or_else(PoisonError::into_inner),
        })
    }

    /// Where the chunks of these pieces lie in the stored image, and how long they are.
    fn stored(&self, pieces: &[Piece]) -> impl Iterator<Item = (u64, usize)> {
        pieces.iter().filter_map(|piece| match piece {
            Piece::Data(index) => {
                let chunk = self.chunk(*index);
                Some((chunk.stored_offset, chunk.stored_length as usize))
            }
            Piece::Hole(_) => None,
        })
    }

    /// Gets one piece onto the target.
    fn put(
        &self,
        worker: &mut Worker,
        ahead: &Ahead<'_>,
        piece: &Piece,
        progress: &Progress<'_>,
    ) -> Result<(), FlashError> {
        match piece {
            Piece::Data(index) => {
                self.fetch(worker, ahead, *index)?;
                self.place(worker, self.chunk(*index), progress)?;
            }
            Piece::Hole(hole) => self.make_zero(worker, hole, progress)?,
        }
        self.advance(progress, piece);
        Ok(())
    }

    /// Gets the raw bytes of a chunk into the worker's buffer. It fails unless they match the manifest.
    fn fetch(
        &self,
        worker: &mut Worker,
        ahead: &Ahead<'_>,
        index: usize,
    ) -> Result<(), FlashError> {
        let chunk = self.chunk(index);
        let raw = &mut worker.raw[..chunk.raw_length as usize];
        let mut attempts = 1;
        loop {
            let (stored, asked) = ahead.read(chunk.stored_offset, chunk.stored_length as usize)?;
            self.tally.bytes_fetched.add(chunk.stored_length.into());
            self.tally.bytes_hashed.add(chunk.raw_length.into());
            self.tally.chunks_fetched.add(1);
            let error = match worker.decoder.decode(chunk, &stored, raw) {
                Ok(()) => return Ok(()),
                Err(ChunkError::Decoder(reason)) => return Err(FlashError::Workers(reason)),
                Err(error) => error,
            };
            self.tally.chunks_damaged.add(1);
            if attempts == ATTEMPTS {
                return Err(FlashError::ChunkDamaged {
                    chunk: index,
                    attempts,
                    reason: error.to_string(),
                });
            }
            ahead.distrust(asked);
            self.retry(index, attempts, &error.to_string());
            attempts += 1;
        }
    }

    /// Writes the worker's raw bytes to the target. Bytes in the first MiB are kept for the commit.
    fn place(
        &self,
        worker: &Worker,
        chunk: &Chunk,
        progress: &Progress<'_>,
    ) -> Result<(), FlashError> {
        let raw = &worker.raw[..chunk.raw_length as usize];
        let (withheld, rest) = raw.split_at(plan::withheld(chunk));
        if !withheld.is_empty() {
            lock(&self.head)[head::range_of(chunk)].copy_from_slice(withheld);
        }
        self.medium
            .write(rest, chunk.raw_offset + withheld.len() as u64, progress)
    }

    fn make_zero(
        &self,
        worker: &mut Worker,
        hole: &Range<u64>,
        progress: &Progress<'_>,
    ) -> Result<(), FlashError> {
        let method = if self.zeroing_failed {
            worker.raw.fill(0);
            for (offset, length) in parts(hole, worker.raw.len()) {
                self.medium.write(&worker.raw[..length], offset, progress)?;
            }
            ZeroMethod::Write
        } else {
            self.medium.zero(hole, progress)?
        };
        *lock(&self.zero_method) = Some(method);
        Ok(())
    }
}
