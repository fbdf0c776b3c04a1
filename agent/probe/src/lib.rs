//! What libblkid sees on a disk, as plain owned structs.
//!
//! A path may name a block device, a partition or a plain image file.

mod libblkid;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use libblkid::{Area, ReadError};

/// A partition table and its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionTable {
    /// `gpt`, `dos`, or another of libblkid's names.
    pub kind: String,
    /// The disk's UUID (GPT, lower case) or its 8 hexadecimal digits (MBR); empty when the table has none.
    pub id: String,
    /// In the order of the table.
    pub partitions: Vec<PartitionInfo>,
}

/// One entry of a partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Counted from 1, as in `nvme0n1p1`.
    pub number: u32,
    /// First byte, from the start of the disk.
    pub start: u64,
    /// Length in bytes.
    pub length: u64,
    /// The type: a lower case UUID (GPT) or a number such as `0xc` (MBR).
    pub kind: String,
    /// The partition's UUID, lower case (GPT), or the disk's id and the partition's number (MBR).
    pub uuid: String,
    /// The GPT name; empty when there is none.
    pub name: String,
}

/// A file system, or what else fills a partition (swap, a RAID member), by its superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filesystem {
    /// libblkid's name: `vfat`, `ext4`.
    pub kind: String,
    /// Empty when there is none, or when it is not UTF-8.
    pub label: String,
    /// As libblkid writes it for this kind: `1234-ABCD` for FAT. Empty when there is none.
    pub uuid: String,
}

/// Why a disk could not be probed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The path cannot be opened for reading.
    #[error("cannot open {path} to probe it")]
    Open {
        /// What was probed.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Reading the disk failed.
    #[error("cannot read {path} to probe it")]
    Read {
        /// What was probed.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Several superblocks contradict each other.
    #[error(
        "{path} carries the signatures of more than one file system; next: look with `wipefs {path}` and erase the stale one"
    )]
    Ambiguous {
        /// What was probed.
        path: PathBuf,
    },
    /// The range to probe is not inside the disk.
    #[error("cannot probe bytes {offset}+{length} of {path}: it has {size} bytes")]
    OutOfRange {
        /// What was probed.
        path: PathBuf,
        /// First byte of the range.
        offset: u64,
        /// Length of the range.
        length: u64,
        /// Size of the disk.
        size: u64,
    },
}

/// The partition table of a disk; `None` when it has none.
///
/// A device says how large its sectors are; an image file is taken to have sectors of 512 bytes.
pub fn partition_table(path: &Path) -> Result<Option<PartitionTable>, ProbeError> {
    read_partition_table(path, None)
}

/// The partition table of an image file made for a disk with sectors of this size.
pub fn partition_table_for_sectors(
    path: &Path,
    sector_size: u32,
) -> Result<Option<PartitionTable>, ProbeError> {
    read_partition_table(path, Some(sector_size))
}

fn read_partition_table(
    path: &Path,
    sector_size: Option<u32>,
) -> Result<Option<PartitionTable>, ProbeError> {
    let (file, size) = open(path)?;
    let area = Area {
        file: &file,
        offset: 0,
        length: size,
    };
    libblkid::partition_table(&area, sector_size).map_err(|error| error.at(path))
}

/// The file system that fills a disk or partition; `None` when it has none.
pub fn filesystem(path: &Path) -> Result<Option<Filesystem>, ProbeError> {
    let (file, size) = open(path)?;
    libblkid::filesystem(&Area {
        file: &file,
        offset: 0,
        length: size,
    })
    .map_err(|error| error.at(path))
}

/// The file system that fills the given bytes of a disk: a partition without its device node.
pub fn filesystem_at(
    path: &Path,
    offset: u64,
    length: u64,
) -> Result<Option<Filesystem>, ProbeError> {
    let (file, size) = open(path)?;
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(ProbeError::OutOfRange {
            path: path.to_owned(),
            offset,
            length,
            size,
        });
    }
    libblkid::filesystem(&Area {
        file: &file,
        offset,
        length,
    })
    .map_err(|error| error.at(path))
}

/// The end is found by seeking, which serves files and block devices alike.
fn open(path: &Path) -> Result<(File, u64), ProbeError> {
    let mut file = File::open(path).map_err(|source| ProbeError::Open {
        path: path.to_owned(),
        source,
    })?;
    let size =
        io::Seek::seek(&mut file, io::SeekFrom::End(0)).map_err(|source| ProbeError::Read {
            path: path.to_owned(),
            source,
        })?;
    Ok((file, size))
}

impl ReadError {
    fn at(self, path: &Path) -> ProbeError {
        let path = path.to_owned();
        match self {
            Self::Read(source) => ProbeError::Read { path, source },
            Self::Ambiguous => ProbeError::Ambiguous { path },
        }
    }
}
