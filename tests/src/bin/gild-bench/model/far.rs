//! A server that is some way off.

use std::thread;
use std::time::Duration;

use gild_source::{Source, SourceError};

/// Before each request, waits as long as the first byte of an answer needs to arrive. A queue of the kernel (netem) could do that, but not
/// every kernel has it.
pub struct Far<S> {
    pub source: S,
    pub latency: Duration,
}

impl<S: Source> Source for Far<S> {
    fn size(&self) -> u64 {
        self.source.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), SourceError> {
        thread::sleep(self.latency);
        self.source.read_exact_at(buffer, offset)
    }
}
