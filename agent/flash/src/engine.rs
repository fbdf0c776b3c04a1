//! From source to target.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gild_format::chunk::{self, ChunkError};
use gild_format::manifest::{Chunk, Manifest, Sha256Hex};
use gild_format::record::State;

use crate::buffer::AlignedBuffer;
use crate::crew::{Crew, Worker};
use crate::medium::Medium;
use crate::plan::{self, Piece};
use crate::progress::{Progress, Tally};
use crate::{
    Clock, Event, FlashError, Observer, Outcome, Report, Source, Stage, Target, ZeroMethod, head,
};

/// Bytes all chunk buffers together may take, whatever the chunk size.
///
/// A worker's buffers are one raw chunk and the longest stored chunk. With chunks of 4 MiB that is at most 8 MiB and
/// some KiB, so eight workers take 64 MiB; on top of that 1 MiB for the withheld first MiB, 1 MiB to read it back, and
/// some 160 KiB per worker inside zstd, which decodes into the raw buffer and needs no window of its own.
pub const BUFFER_BUDGET: usize = 96 << 20;

/// How often anything that came out wrong is tried before it is a fault.
pub(crate) const ATTEMPTS: u32 = 3;

/// Bytes looked at in a hole that the target itself made zero: so many at each end and in the middle of every piece.
const SAMPLE: usize = 4096;

/// What a target carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// This image, committed: there is nothing to write.
    Done,
    /// This image, not committed: what is there is kept.
    Resumable,
    /// Anything else.
    Other,
}

/// How the engine works.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Threads; `None` is twice the cores, at most 8. Never more than [`BUFFER_BUDGET`] allows.
    pub workers: Option<usize>,
}

/// One image onto one target.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The image. Its signature was checked by the caller.
    pub manifest: &'a Manifest,
    /// SHA-256 of the manifest's bytes.
    pub manifest_sha256: Sha256Hex,
    /// The stored file of the image.
    pub source: &'a dyn Source,
    /// The disk.
    pub target: &'a dyn Target,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Who watches.
    pub observer: &'a dyn Observer,
    /// How to work.
    pub options: &'a Options,
}

/// Says what the target carries, or why it cannot take the image. Writes nothing.
pub fn inspect(
    manifest: &Manifest,
    manifest_sha256: Sha256Hex,
    target: &dyn Target,
) -> Result<TargetState, FlashError> {
    let unsuitable = |reason| {
        Err(FlashError::Unsuitable {
            target: target.name().to_owned(),
            reason,
        })
    };
    let (size, wanted) = (target.size(), manifest.raw_size);
    if size < wanted {
        return unsuitable(format!("it has {size} bytes, the image {wanted}"));
    }
    let (sector, wanted) = (target.sector_size(), manifest.sector_size);
    if sector != wanted {
        return unsuitable(format!(
            "its sectors have {sector} bytes, the image was made for {wanted}"
        ));
    }
    head::state(manifest, manifest_sha256, target).map_err(|error| FlashError::Target {
        action: "inspecting".to_owned(),
        target: target.name().to_owned(),
        error,
    })
}

/// Makes the target carry the image, verified and committed.
///
/// When it fails, or the power goes, the target does not boot, and the next call goes on from there.
pub fn flash(job: &Job<'_>) -> Result<Report, FlashError> {
    let state = inspect(job.manifest, job.manifest_sha256, job.target)?;
    let tally = Tally::default();
    let mut flash = Flash::new(job, &tally);
    if state == TargetState::Done {
        return Ok(flash.report(Outcome::AlreadyDone));
    }
    let (found, expected) = (job.source.size(), job.manifest.stored_size);
    if found != expected {
        return Err(FlashError::SourceSize { found, expected });
    }
    let mut crew = Crew::new(job.manifest, job.options.workers)?;
    let mut pieces = plan::pieces(job.manifest);

    flash.stage(Stage::Prepare, |flash| flash.prepare(state))?;
    if state == TargetState::Resumable {
        flash.stage(Stage::Scan, |flash| flash.scan(&mut crew, &mut pieces))?;
    }
    flash.stage(Stage::Write, |flash| flash.write(&mut crew, &pieces))?;
    flash.stage(Stage::Verify, |flash| flash.verify(&mut crew, pieces))?;
    flash.stage(Stage::Commit, Flash::commit)?;
    Ok(flash.report(Outcome::Flashed))
}

/// The state of a running flash, shared by the workers.
struct Flash<'a> {
    job: &'a Job<'a>,
    tally: &'a Tally,
    medium: Medium<'a>,
    head: Mutex<AlignedBuffer>,
    zero_method: Mutex<Option<ZeroMethod>>,
    zeroing_failed: bool,
    kept: usize,
    stages: Vec<(Stage, Duration)>,
}

/// A piece that reads back wrong.
struct Wrong {
    piece: Piece,
    offset: u64,
    finding: Finding,
}

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
enum Finding {
    #[error("{0}")]
    Unreadable(FlashError),
    #[error("{0}")]
    Differs(String),
}

impl<'a> Flash<'a> {
    fn new(job: &'a Job<'a>, tally: &'a Tally) -> Self {
        Self {
            job,
            tally,
            medium: Medium {
                target: job.target,
                tally,
            },
            head: Mutex::new(AlignedBuffer::new(head::LENGTH)),
            zero_method: Mutex::new(None),
            zeroing_failed: false,
            kept: 0,
            stages: Vec::new(),
        }
    }

    fn stage(
        &mut self,
        stage: Stage,
        work: impl FnOnce(&mut Self) -> Result<(), FlashError>,
    ) -> Result<(), FlashError> {
        self.job.observer.event(Event::Stage(stage));
        let start = self.job.clock.now();
        work(self)?;
        let time = self.job.clock.now().saturating_sub(start);
        self.stages.push((stage, time));
        Ok(())
    }

    fn prepare(&mut self, state: TargetState) -> Result<(), FlashError> {
        let Job {
            manifest,
            manifest_sha256,
            ..
        } = *self.job;
        let flashing = head::record(manifest, manifest_sha256, State::Flashing);
        let progress = self.progress(Stage::Prepare, &[]);
        head::prepare(&self.medium, &flashing, manifest.raw_size, state, &progress)
    }

    /// Drops from the pieces the chunks that are already on the target. Holes are made zero again: that is cheaper
    /// than to know.
    fn scan(&mut self, crew: &mut Crew, pieces: &mut Vec<Piece>) -> Result<(), FlashError> {
        let (candidates, others): (Vec<_>, Vec<_>) =
            pieces.drain(..).partition(|piece| match piece {
                Piece::Data(index) => plan::withheld(self.chunk(*index)) == 0,
                Piece::Hole(_) => false,
            });
        let missing = self.read_back(crew, &candidates, Stage::Scan)?;
        self.kept = candidates.len() - missing.len();
        *pieces = others;
        pieces.extend(missing.into_iter().map(|wrong| wrong.piece));
        pieces.sort_by_key(|piece| self.range(piece).start);
        self.job.observer.event(Event::Resumed {
            kept: self.kept,
            total: self.data_chunks(),
        });
        Ok(())
    }

    fn write(&mut self, crew: &mut Crew, pieces: &[Piece]) -> Result<(), FlashError> {
        let progress = self.progress(Stage::Write, pieces);
        crew.run(pieces, |worker, piece| {
            match piece {
                Piece::Data(index) => {
                    self.fetch(worker, *index)?;
                    self.place(worker, self.chunk(*index), &progress)?;
                }
                Piece::Hole(hole) => self.make_zero(worker, hole, &progress)?,
            }
            self.advance(&progress, piece);
            Ok(())
        })
    }

    /// Reads everything that was written back from the medium, and writes again what is wrong.
    fn verify(&mut self, crew: &mut Crew, mut pieces: Vec<Piece>) -> Result<(), FlashError> {
        let mut attempts = 1;
        loop {
            self.medium.flush()?;
            let wrong = self.read_back(crew, &pieces, Stage::Verify)?;
            let Some(first) = wrong.first() else {
                return Ok(());
            };
            if attempts == ATTEMPTS {
                return Err(FlashError::ReadBack {
                    target: self.job.target.name().to_owned(),
                    offset: first.offset,
                    attempts,
                    reason: first.finding.to_string(),
                });
            }
            for wrong in &wrong {
                match (&wrong.piece, &wrong.finding) {
                    (Piece::Data(chunk), finding) => {
                        self.tally.chunks_rewritten.add(1);
                        self.retry(*chunk, attempts, &finding.to_string());
                    }
                    (Piece::Hole(_), Finding::Unreadable(error)) => {
                        self.job.observer.event(Event::HoleUnreadable {
                            attempt: attempts,
                            reason: &error.to_string(),
                        });
                    }
                    (Piece::Hole(_), Finding::Differs(_)) => {
                        self.job.observer.event(Event::ZeroingFailed {
                            offset: wrong.offset,
                        });
                    }
                }
            }
            let hole_lied = wrong.iter().any(|wrong| {
                matches!(
                    (&wrong.piece, &wrong.finding),
                    (Piece::Hole(_), Finding::Differs(_))
                )
            });
            let mut again: Vec<Piece> = wrong.into_iter().map(|wrong| wrong.piece).collect();
            if hole_lied && !self.zeroing_failed {
                // One lie, and no hole can be trusted to a sample any more.
                self.zeroing_failed = true;
                again.retain(|piece| matches!(piece, Piece::Data(_)));
                pieces.retain(|piece| matches!(piece, Piece::Hole(_)));
                again.append(&mut pieces);
            }
            pieces = again;
            self.write(crew, &pieces)?;
            attempts += 1;
        }
    }

    fn commit(&mut self) -> Result<(), FlashError> {
        let Job {
            manifest,
            manifest_sha256,
            ..
        } = *self.job;
        let committed = head::record(manifest, manifest_sha256, State::Committed);
        let progress = self.progress(Stage::Commit, &[]);
        head::commit(
            &self.medium,
            &mut lock(&self.head),
            &committed,
            &manifest.partitions,
            &progress,
        )
    }

    /// Gets the raw bytes of a chunk into the worker's buffer: they are those of the manifest, or it fails.
    fn fetch(&self, worker: &mut Worker, index: usize) -> Result<(), FlashError> {
        let chunk = self.chunk(index);
        let stored = &mut worker.stored[..chunk.stored_length as usize];
        let raw = &mut worker.raw[..chunk.raw_length as usize];
        let mut attempts = 1;
        loop {
            self.job.source.read_exact_at(stored, chunk.stored_offset)?;
            self.tally.bytes_fetched.add(chunk.stored_length.into());
            self.tally.bytes_hashed.add(chunk.raw_length.into());
            self.tally.chunks_fetched.add(1);
            let error = match worker.decoder.decode(chunk, stored, raw) {
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
            self.retry(index, attempts, &error.to_string());
            attempts += 1;
        }
    }

    /// Writes the worker's raw bytes to the target, except what lies in the first MiB: that is kept until the commit.
    fn place(
        &self,
        worker: &Worker,
        chunk: &Chunk,
        progress: &Progress<'_>,
    ) -> Result<(), FlashError> {
        let raw = &worker.raw[..chunk.raw_length as usize];
        let (withheld, rest) = raw.split_at(plan::withheld(chunk));
        if !withheld.is_empty() {
            lock(&self.head)[head_range(chunk)].copy_from_slice(withheld);
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

    /// Reads the pieces back from the medium; gives those that are not as they should be, in order.
    fn read_back(
        &self,
        crew: &mut Crew,
        pieces: &[Piece],
        stage: Stage,
    ) -> Result<Vec<Wrong>, FlashError> {
        let progress = self.progress(stage, pieces);
        let wrong = Mutex::new(Vec::new());
        crew.run(pieces, |worker, piece| {
            let found = match piece {
                Piece::Data(index) => self.check_chunk(worker, self.chunk(*index), &progress),
                Piece::Hole(hole) => self.check_hole(worker, hole, &progress),
            };
            if let Err((offset, finding)) = found {
                lock(&wrong).push(Wrong {
                    piece: piece.clone(),
                    offset,
                    finding,
                });
            }
            self.advance(&progress, piece);
            Ok(())
        })?;
        let mut wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
        wrong.sort_by_key(|wrong| wrong.offset);
        Ok(wrong)
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
            withheld.copy_from_slice(&lock(&self.head)[head_range(chunk)]);
        }
        self.medium
            .read(rest, chunk.raw_offset + withheld.len() as u64, progress)
            .map_err(|error| (chunk.raw_offset, Finding::Unreadable(error)))?;
        self.tally.bytes_hashed.add(chunk.raw_length.into());
        chunk::check(chunk, raw)
            .map_err(|error| (chunk.raw_offset, Finding::Differs(error.to_string())))
    }

    /// A hole that the target made zero itself is sampled; once that was found to fail, holes are read whole.
    fn check_hole(
        &self,
        worker: &mut Worker,
        hole: &Range<u64>,
        progress: &Progress<'_>,
    ) -> Result<(), (u64, Finding)> {
        let parts: Vec<_> = if self.zeroing_failed {
            parts(hole, worker.raw.len()).collect()
        } else {
            samples(hole)
        };
        for (offset, length) in parts {
            let bytes = &mut worker.raw[..length];
            self.medium
                .read(bytes, offset, progress)
                .map_err(|error| (offset, Finding::Unreadable(error)))?;
            if !chunk::is_zero(bytes) {
                let reason = "a hole that does not read zero".to_owned();
                return Err((offset, Finding::Differs(reason)));
            }
        }
        Ok(())
    }

    fn chunk(&self, index: usize) -> &'a Chunk {
        &self.job.manifest.chunks[index]
    }

    fn range(&self, piece: &Piece) -> Range<u64> {
        match piece {
            Piece::Data(index) => {
                let chunk = self.chunk(*index);
                chunk.raw_offset..chunk.raw_offset + u64::from(chunk.raw_length)
            }
            Piece::Hole(hole) => hole.clone(),
        }
    }

    fn data_length(&self, piece: &Piece) -> u64 {
        match piece {
            Piece::Data(index) => self.chunk(*index).raw_length.into(),
            Piece::Hole(_) => 0,
        }
    }

    fn data_chunks(&self) -> usize {
        let chunks = &self.job.manifest.chunks;
        chunks.iter().filter(|chunk| !chunk.hole).count()
    }

    fn progress(&self, stage: Stage, pieces: &[Piece]) -> Progress<'a> {
        let total = pieces.iter().map(|piece| self.data_length(piece)).sum();
        Progress::new(self.job.observer, stage, total)
    }

    fn advance(&self, progress: &Progress<'_>, piece: &Piece) {
        progress.advance(self.data_length(piece));
    }

    fn retry(&self, chunk: usize, attempt: u32, reason: &str) {
        self.job.observer.event(Event::Retry {
            chunk,
            attempt,
            reason,
        });
    }

    fn report(self, outcome: Outcome) -> Report {
        let tally = self.tally;
        Report {
            outcome,
            bytes_fetched: tally.bytes_fetched.get(),
            bytes_hashed: tally.bytes_hashed.get(),
            bytes_written: tally.bytes_written.get(),
            bytes_zeroed: tally.bytes_zeroed.get(),
            bytes_read_back: tally.bytes_read_back.get(),
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

/// A worker that panicked has ended the flash already: what it held is looked at no more.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the withheld part of a chunk lies in the first MiB.
fn head_range(chunk: &Chunk) -> Range<usize> {
    // A chunk with a withheld part starts in the first MiB.
    let start = usize::try_from(chunk.raw_offset).unwrap_or(head::LENGTH);
    start..start + plan::withheld(chunk)
}

/// The range in parts of at most `length` bytes: offset and length of each.
fn parts(range: &Range<u64>, length: usize) -> impl Iterator<Item = (u64, usize)> {
    let end = range.end;
    range.clone().step_by(length).map(move |offset| {
        (
            offset,
            usize::try_from(end - offset).map_or(length, |rest| rest.min(length)),
        )
    })
}

fn samples(hole: &Range<u64>) -> Vec<(u64, usize)> {
    let sample = SAMPLE as u64;
    if hole.end - hole.start <= 3 * sample {
        return parts(hole, SAMPLE).collect();
    }
    let middle = hole.start + (hole.end - hole.start) / 2 / sample * sample;
    [hole.start, middle, hole.end - sample]
        .map(|offset| (offset, SAMPLE))
        .to_vec()
}
