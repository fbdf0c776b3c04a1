//! The workers. One worker carries one piece from start to finish, so network, cores and disk are busy at once as soon
//! as the workers are in different phases, and the memory is that of the buffers, allocated once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use gild_disk::AlignedBuffer;
use gild_format::chunk::Decoder;
use gild_format::manifest::Manifest;

use crate::FlashError;
use crate::plan;

/// What a worker owns.
pub struct Worker {
    pub raw: AlignedBuffer,
    pub stored: Vec<u8>,
    pub decoder: Decoder,
}

pub struct Crew(Vec<Worker>);

impl Crew {
    pub fn new(manifest: &Manifest, asked: Option<usize>) -> Result<Self, FlashError> {
        let (raw, stored) = plan::buffer_sizes(manifest);
        (0..plan::workers(manifest, asked))
            .map(|_| {
                Ok(Worker {
                    raw: AlignedBuffer::new(raw),
                    stored: vec![0; stored],
                    decoder: Decoder::new()
                        .map_err(|error| FlashError::Workers(error.to_string()))?,
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Does the work for every item. The first error ends it: no worker begins another item.
    pub fn run<T: Sync>(
        &mut self,
        items: &[T],
        work: impl Fn(&mut Worker, &T) -> Result<(), FlashError> + Sync,
    ) -> Result<(), FlashError> {
        let next = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        let fail = |error| {
            next.store(items.len(), Ordering::Relaxed);
            let mut first = failure
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            first.get_or_insert(error);
        };
        std::thread::scope(|scope| {
            for worker in &mut self.0 {
                let body = || {
                    while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
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
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .map_or(Ok(()), Err)
    }
}
