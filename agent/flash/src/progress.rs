//! Counting and telling.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Event, Observer, Stage};

/// A number several threads add to.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What was done so far; the fields are those of [`crate::Report`].
#[derive(Default)]
pub struct Tally {
    pub bytes_fetched: Count,
    pub bytes_hashed: Count,
    pub bytes_written: Count,
    pub bytes_zeroed: Count,
    pub bytes_discarded: Count,
    pub hole_bytes_read_back: Count,
    pub bytes_read_back: Count,
    pub chunks_fetched: Count,
    pub chunks_damaged: Count,
    pub chunks_rewritten: Count,
}

/// The progress of a stage. It counts only data: zeroing is so much faster that it would spoil every forecast.
pub struct Progress<'a> {
    observer: &'a dyn Observer,
    stage: Stage,
    done: Count,
    total: u64,
}

impl<'a> Progress<'a> {
    pub fn new(observer: &'a dyn Observer, stage: Stage, total: u64) -> Self {
        Self {
            observer,
            stage,
            done: Count::default(),
            total,
        }
    }

    /// This many bytes are done.
    pub fn advance(&self, bytes: u64) {
        self.done.add(bytes);
        self.alive();
    }

    /// Whether the target may be discarded.
    pub fn may_discard(&self) -> bool {
        self.observer.may_discard()
    }

    /// Work goes on.
    pub fn alive(&self) {
        self.observer.event(Event::Progress {
            stage: self.stage,
            done: self.done.get(),
            total: self.total,
        });
    }
}
