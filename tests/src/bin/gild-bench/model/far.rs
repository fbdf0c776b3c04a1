//! A server that is some way off.

use std::thread;
use std::time::Duration;

use gild_source::{Source, SourceError};

/// Waits before each request as long as it takes the first byte of an answer to come. The kernel's queues could do it, but not
/// each kernel has the one for it (netem).
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
