//! The mark of a disk: a digest that changes when something starts from the disk.

use std::io;

use gild_disk::{AlignedBuffer, Target};
use gild_format::manifest::Partition;
use sha2::{Digest, Sha256};

/// Bytes of each partition that the mark covers: the superblock of every usual file system is among them.
pub const HEAD: u64 = 128 << 10;

/// A digest of the bytes that change as soon as something starts from the disk.
pub fn mark(disk: &dyn Target, partitions: &[Partition]) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = AlignedBuffer::new(usize::try_from(HEAD).map_err(io::Error::other)?);
    for partition in partitions {
        let sector = u64::from(disk.sector_size());
        let length = partition.length.min(HEAD) / sector * sector;
        let head = &mut buffer[..usize::try_from(length).map_err(io::Error::other)?];
        disk.read_at(head, partition.start)?;
        hash.update(head);
    }
    Ok(hex::encode(hash.finalize()))
}
