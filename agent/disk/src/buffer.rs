//! Memory that `O_DIRECT` accepts.

use std::ops::{Deref, DerefMut};

/// The strictest alignment any disk asks of a buffer.
const PAGE: usize = 4096;

/// Bytes that start on a page boundary.
#[derive(Debug)]
pub struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// So many zeros.
    #[must_use]
    pub fn new(length: usize) -> Self {
        let memory = vec![0; length + PAGE];
        let address = memory.as_ptr().addr();
        let start = address.next_multiple_of(PAGE) - address;
        Self {
            memory,
            start,
            length,
        }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}
