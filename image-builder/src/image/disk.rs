//! The raw disk image that is being packed.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use gild_format::network::{NETWORK_LENGTH, NETWORK_OFFSET};
use gild_format::record::{FIRST_MIB, RECORD_LENGTH, RECORD_OFFSET};
use gild_format::{Partition, chunk};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use crate::input::must_exist;

/// An open disk image.
pub struct DiskImage {
    path: PathBuf,
    file: File,
    sector_size: u32,
    state: State,
}

/// Must stay as it is while the image is read.
#[derive(PartialEq)]
struct State {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
}

impl State {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl DiskImage {
    /// Opens a disk image and refuses what cannot become a golden image.
    pub fn open(path: &Path, sector_size: u32) -> Result<Self> {
        let context = || format!("cannot read the disk image {}", path.display());
        must_exist(path, "the disk image", "give a raw image of a whole disk")?;
        // Looked at before it is opened: opening a pipe would wait for its writer.
        let metadata = fs::metadata(path).with_context(context)?;
        ensure!(
            metadata.is_file(),
            "{} is not a file; next: give a raw disk image",
            path.display()
        );
        let file = File::open(path).with_context(context)?;
        let state = State::of(&file.metadata().with_context(context)?);
        let image = Self {
            path: path.to_owned(),
            file,
            sector_size,
            state,
        };
        image.check_kind()?;
        image.check_size()?;
        image.check_places()?;
        Ok(image)
    }

    /// What begins like this is not the raw image of a disk, though a disk image may be in it.
    fn check_kind(&self) -> Result<()> {
        const PACKED: [(&[u8], &str); 5] = [
            (b"\x28\xb5\x2f\xfd", "zstd"),
            (b"\xfd7zXZ\0", "xz"),
            (b"\x1f\x8b", "gzip"),
            (b"BZh", "bzip2"),
            (b"PK\x03\x04", "zip"),
        ];
        let mut start = [0; 8];
        if self.size() < start.len() as u64 {
            return Ok(());
        }
        self.read(0, &mut start)?;
        for (magic, name) in PACKED {
            ensure!(
                !start.starts_with(magic),
                "{} is compressed ({name}); next: unpack it, and give the raw image",
                self.path.display()
            );
        }
        Ok(())
    }

    fn check_size(&self) -> Result<()> {
        let (path, size) = (self.path.display(), self.size());
        ensure!(size > 0, "{path} is empty");
        ensure!(
            size.is_multiple_of(self.sector_size.into()),
            "{path} has {size} bytes, not a multiple of the sector size {}: it is cut off",
            self.sector_size
        );
        ensure!(
            size > FIRST_MIB,
            "{path} has {size} bytes: nothing after the first MiB, so no partition"
        );
        Ok(())
    }

    /// The commit record and the network block take these places on the target, so the image must not need them.
    fn check_places(&self) -> Result<()> {
        for (what, offset, length) in [
            ("the network block", NETWORK_OFFSET, NETWORK_LENGTH),
            ("its commit record", RECORD_OFFSET, RECORD_LENGTH),
        ] {
            let mut place = vec![0; length];
            self.read(offset, &mut place)?;
            ensure!(
                chunk::is_zero(&place),
                "{} has data at bytes {offset:#x} to {:#x}, where gild keeps {what}: leave these {length} bytes zero",
                self.path.display(),
                offset + length as u64
            );
        }
        Ok(())
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.state.size
    }

    /// The partitions, as libblkid sees them.
    pub fn partitions(&self) -> Result<Vec<Partition>> {
        let path = self.path.display();
        let table = gild_probe::partition_table_for_sectors(&self.path, self.sector_size)
            .with_context(|| format!("cannot read the partition table of {path}"))?
            .ok_or_else(|| match self.filesystem() {
                Some(kind) => anyhow!(
                    "{path} has no partition table, because it is a file system ({kind}); next: give the image of the whole disk"
                ),
                None => anyhow!(
                    "{path} has no partition table for sectors of {} bytes; next: give the image of a whole disk, and its --sector-size",
                    self.sector_size
                ),
            })?;
        ensure!(
            !table.partitions.is_empty(),
            "the partition table of {path} is empty"
        );
        for partition in &table.partitions {
            ensure!(
                partition.start >= FIRST_MIB,
                "partition {} of {path} starts at byte {}: gild keeps the first MiB for the partition table and its \
                 commit record, so let partitions start at 1 MiB or later",
                partition.number,
                partition.start
            );
            ensure!(
                partition
                    .start
                    .checked_add(partition.length)
                    .is_some_and(|end| end <= self.size()),
                "partition {} of {path} ends behind the end of the image: it is cut off",
                partition.number
            );
        }
        let partition = |found: gild_probe::PartitionInfo| Partition {
            number: found.number,
            start: found.start,
            length: found.length,
            kind: found.kind,
            uuid: found.uuid,
            name: found.name,
        };
        Ok(table.partitions.into_iter().map(partition).collect())
    }

    /// The file system that fills the image, where there is one instead of partitions.
    fn filesystem(&self) -> Option<String> {
        let found = gild_probe::filesystem(&self.path).ok().flatten()?;
        Some(found.kind)
    }

    /// Whether the file has only a hole in this range. A file system that does not know says no.
    pub fn is_sparse(&self, offset: u64, length: u64) -> Result<bool> {
        match lseek(&self.file, i64::try_from(offset)?, Whence::SeekData) {
            Ok(data) => Ok(u64::try_from(data)? >= offset + length),
            Err(Errno::ENXIO) => Ok(true),
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(false),
            Err(error) => Err(error)
                .with_context(|| format!("cannot look for holes in {}", self.path.display())),
        }
    }

    /// Fills the buffer from this offset.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => {
                    anyhow!("{} became shorter while it was read", self.path.display())
                }
                _ => anyhow!(error).context(format!(
                    "cannot read {} at byte {offset}",
                    self.path.display()
                )),
            })
    }

    /// Fails when the path no longer names the opened file.
    pub fn check_unchanged(&self) -> Result<()> {
        let path = self.path.display();
        let context = || format!("{path} vanished while it was read");
        let (now, named) = (
            self.file.metadata().with_context(context)?,
            fs::metadata(&self.path).with_context(context)?,
        );
        if State::of(&now) != self.state || State::of(&named) != self.state {
            bail!("{path} changed while it was read: pack it again when nothing writes to it");
        }
        Ok(())
    }
}
