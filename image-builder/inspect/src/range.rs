//! A part of the image, read only.

use std::error::Error;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use ext4_view::Ext4Read;

/// How much is read at a time.
const BUFFER: usize = 1 << 20;

/// What has an image's bytes: a file, or what is made of a stored image as it is read.
pub trait Storage: Send + Sync {
    /// Fills `buffer` from `offset`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl Storage for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

/// A range of bytes of the image: the image itself, or one partition.
#[derive(Clone)]
pub struct Range {
    storage: Arc<dyn Storage>,
    start: u64,
    length: u64,
    position: u64,
}

impl Range {
    /// `length` bytes of `storage` from `start`.
    pub fn new(storage: Arc<dyn Storage>, start: u64, length: u64) -> Self {
        Self {
            storage,
            start,
            length,
            position: 0,
        }
    }

    /// A part of this range.
    pub fn part(&self, start: u64, length: u64) -> Self {
        let start = start.min(self.length);
        Self::new(
            Arc::clone(&self.storage),
            self.start + start,
            length.min(self.length - start),
        )
    }

    /// Bytes in this range.
    pub fn len(&self) -> u64 {
        self.length
    }

    fn check_has(&self, offset: u64, length: usize) -> io::Result<()> {
        let end = offset.checked_add(length as u64);
        end.filter(|end| *end <= self.length)
            .map(drop)
            .ok_or(ErrorKind::UnexpectedEof.into())
    }

    /// Fills `buffer` from `offset`.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.check_has(offset, buffer.len())?;
        self.storage.read_exact_at(buffer, self.start + offset)
    }

    /// Bytes `offset..offset + length`.
    pub fn vec_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        // A damaged table may ask for more memory than there is.
        self.check_has(offset, length)?;
        let mut bytes = vec![0; length];
        self.read_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// The offset of the first byte that is not zero.
    pub fn first_data(&self) -> io::Result<Option<u64>> {
        let mut buffer = vec![0; BUFFER];
        let mut at = 0;
        while at < self.length {
            let length = (self.length - at).min(BUFFER as u64);
            let part = &mut buffer[..usize::try_from(length).unwrap_or(BUFFER)];
            self.read_at(part, at)?;
            if let Some(index) = first_nonzero(part) {
                return Ok(Some(at + index as u64));
            }
            at += length;
        }
        Ok(None)
    }
}

/// The index of the first byte that is not zero.
pub fn first_nonzero(bytes: &[u8]) -> Option<usize> {
    // Whole words at a time: the optimiser makes wide loads of it.
    let blocks = bytes.chunks(4096);
    let mut start = 0;
    for block in blocks {
        if block.iter().fold(0, |all, byte| all | byte) != 0 {
            return block
                .iter()
                .position(|&byte| byte != 0)
                .map(|index| start + index);
        }
        start += block.len();
    }
    None
}

impl Read for Range {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(self.position);
        let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        self.storage
            .read_exact_at(&mut buffer[..length], self.start + self.position)?;
        self.position += length as u64;
        Ok(length)
    }
}

impl Seek for Range {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// The FAT crate needs this trait, but its use fails: the image is never written.
impl Write for Range {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ext4Read for Range {
    fn read(
        &mut self,
        start: u64,
        buffer: &mut [u8],
    ) -> Result<(), Box<dyn Error + Send + Sync + 'static>> {
        Ok(self.read_at(buffer, start)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_is_takes_no_memory() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(1024).expect("room");
        let range = Range::new(Arc::new(file), 0, 1024);
        for (offset, length) in [(0, usize::MAX >> 1), (1024, 1), (u64::MAX, 1024)] {
            let refused = range.vec_at(offset, length).expect_err("too much");
            assert_eq!(refused.kind(), ErrorKind::UnexpectedEof);
        }
        assert_eq!(range.vec_at(1000, 24).expect("the end"), [0; 24]);
    }
}
