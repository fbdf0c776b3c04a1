//! The way to the server.

use std::thread;

use gild_source::{FileSource, Source, SourceError};

use super::Model;
use super::lane::Lane;

/// The longest read over NFS.
const TRANSFER: usize = 1 << 20;

pub struct Wire {
    model: Model,
    file: FileSource,
    lane: Lane,
}

impl Wire {
    pub fn new(model: Model, file: FileSource) -> Self {
        Self {
            model,
            file,
            lane: Lane::new(),
        }
    }
}

impl Source for Wire {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), SourceError> {
        let mut at = offset;
        for part in buffer.chunks_mut(TRANSFER) {
            let length = part.len();
            thread::sleep(self.model.latency * self.model.stretch);
            self.lane
                .spend(self.model.time(length, self.model.link), || {
                    self.file.read_exact_at(part, at)
                })?;
            at += length as u64;
        }
        Ok(())
    }
}
