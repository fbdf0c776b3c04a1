//! The workers. Each worker carries one piece from start to finish. Because the workers are in different phases, network, cores and disk
//! are busy at the same time. All memory is in the buffers, which are allocated once.

use std::sync::{Mutex, PoisonError};

use gild_disk::AlignedBuffer;
use gild_format::chunk::Decoder;
use gild_format::manifest::Manifest;

use crate::FlashError;
use crate::plan;
use crate::run::lock;

/// What a worker owns.
pub struct Worker {
    pub raw: AlignedBuffer,
    pub decoder: Decoder,
}

pub struct Crew(Vec<Worker>);

impl Crew {
    pub fn new(manifest: &Manifest, asked: Option<usize>) -> Result<Self, FlashError> {
        let raw = plan::raw_buffer(manifest);
        (0..plan::workers(manifest, asked))
            .map(|_| {
                Ok(Worker {
                    raw: AlignedBuffer::new(raw),
                    decoder: Decoder::new()
                        .map_err(|error| FlashError::Workers(error.to_string()))?,
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub fn workers(&self) -> usize {
        self.0.len()
    }

    /// Does the work for every item. After the first error no worker begins another item.
    pub fn run<T>(
        &mut self,
        next: impl Fn() -> Option<T> + Sync,
        work: impl Fn(&mut Worker, T) -> Result<(), FlashError> + Sync,
    ) -> Result<(), FlashError> {
        let failure = Mutex::new(None);
        let fail = |error| {
            lock(&failure).get_or_insert(error);
        };
        let goes_on = || lock(&failure).is_none();
        std::thread::scope(|scope| {
            for worker in &mut self.0 {
                let body = || {
                    while goes_on()
                        && let Some(item) = next()
                    {
                        if let Err(error) = work(worker, item) {
                            fail(error);
                        }
                    }
                };
                if let Err(error) = std::thread::Builder::new().spawn_scoped(scope, body) {
                    fail(FlashError::Workers(error.to_string()));
                }
            }
        });
        failure
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .map_or(Ok(()), Err)
    }
}
