//! What is written: a block device, or a file that stands in for one.

use std::io;
use std::path::Path;

use gild_format::manifest::Partition;

/// How a range was made zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroMethod {
    /// `BLKZEROOUT`: the kernel has the device write zeros, by command or in full.
    ZeroOut,
    /// The file system made the range read as zero.
    Fallocate,
    /// Zeros were written.
    Write,
}

/// A disk. Buffers, offsets and lengths are multiples of the sector size, buffers lie on a page boundary.
/// Several threads call at once.
pub trait Target: Send + Sync {
    /// The name the operator knows it by, for messages.
    fn name(&self) -> &str;
    /// Size in bytes.
    fn size(&self) -> u64;
    /// Logical sector size in bytes.
    fn sector_size(&self) -> u32;
    /// Fills the buffer from the medium, past every cache of this machine.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of the data. It is durable only after the next [`flush`](Target::flush).
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    /// Makes a range read as zero, and says how.
    fn zero(&self, offset: u64, length: u64) -> io::Result<ZeroMethod>;
    /// Makes durable everything written so far.
    fn flush(&self) -> io::Result<()>;
    /// Makes the kernel look at the partition table again.
    fn reread_partition_table(&self) -> io::Result<()>;
    /// The partitions on the medium, as libblkid reports them; `None` if there is no partition table.
    fn partition_table(&self) -> io::Result<Option<Vec<Partition>>>;
}

/// A block device opened exclusively and past the page cache; for `gild flash` and tests also a regular file.
#[derive(Debug)]
pub struct BlockDevice {}

impl BlockDevice {
    /// Opens a block device. Refused while a partition of it is mounted or anything else holds it.
    pub fn open(path: &Path) -> io::Result<Self> {
        todo!("{}", path.display())
    }

    /// Opens a regular file as a disk with sectors of the given size.
    pub fn open_file(path: &Path, sector_size: u32) -> io::Result<Self> {
        todo!("{} {sector_size}", path.display())
    }

    /// Whether reads and writes bypass the page cache (`O_DIRECT`), as they always do on a block device.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        todo!()
    }
}

impl Target for BlockDevice {
    fn name(&self) -> &str {
        todo!()
    }
    fn size(&self) -> u64 {
        todo!()
    }
    fn sector_size(&self) -> u32 {
        todo!()
    }
    fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> io::Result<()> {
        todo!()
    }
    fn write_at(&self, _data: &[u8], _offset: u64) -> io::Result<()> {
        todo!()
    }
    fn zero(&self, _offset: u64, _length: u64) -> io::Result<ZeroMethod> {
        todo!()
    }
    fn flush(&self) -> io::Result<()> {
        todo!()
    }
    fn reread_partition_table(&self) -> io::Result<()> {
        todo!()
    }
    fn partition_table(&self) -> io::Result<Option<Vec<Partition>>> {
        todo!()
    }
}
