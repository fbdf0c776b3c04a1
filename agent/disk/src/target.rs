//! What is written: a block device, or a file that stands in for one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use gild_format::manifest::Partition;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise};
use nix::libc::{O_DIRECT, O_EXCL};

use crate::buffer::AlignedBuffer;
use crate::sys;

/// Largest single transfer to or from a disk. The engine reports every transfer to its observer: even a disk of one megabyte a
/// second gives a sign of life every few seconds.
pub const TRANSFER: usize = 1 << 20;

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

impl ZeroMethod {
    /// One word for console and receipt.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ZeroOut => "zero-out",
            Self::Fallocate => "fallocate",
            Self::Write => "write",
        }
    }
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
    /// Has the disk forget a range: what it reads afterwards is not known. Not every disk can do that.
    fn discard(&self, _offset: u64, _length: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Makes durable everything written so far.
    fn flush(&self) -> io::Result<()>;
    /// Makes the kernel look at the partition table again.
    fn reread_partition_table(&self) -> io::Result<()>;
    /// The partitions on the medium, as libblkid reports them; `None` if there is no partition table.
    fn partition_table(&self) -> io::Result<Option<Vec<Partition>>>;
}

/// A block device opened exclusively and past the page cache; for `gild flash` and tests also a regular file.
#[derive(Debug)]
pub struct BlockDevice {
    path: PathBuf,
    name: String,
    file: File,
    kind: Kind,
    size: u64,
    sector_size: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Device,
    DirectFile,
    /// The file system has no `O_DIRECT`: the flush also drops the file from the page cache.
    CachedFile,
}

impl BlockDevice {
    /// Opens a block device. Refused while a partition of it is mounted or anything else holds it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = writable(O_DIRECT | O_EXCL)
            .open(path)
            .map_err(|error| explain(path, &error))?;
        if !file.metadata()?.file_type().is_block_device() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} is not a block device", path.display()),
            ));
        }
        Ok(Self {
            size: sys::size(&file)?,
            sector_size: sys::sector_size(&file)?,
            kind: Kind::Device,
            name: path.display().to_string(),
            path: path.to_owned(),
            file,
        })
    }

    /// Opens a regular file as a disk with sectors of the given size. Refused while another program has it open as a disk:
    /// `O_EXCL` does nothing for a file.
    pub fn open_file(path: &Path, sector_size: u32) -> io::Result<Self> {
        let (file, kind) = match open_direct(path, sector_size) {
            Ok(file) => (file, Kind::DirectFile),
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                let file = writable(0).open(path);
                (
                    file.map_err(|error| explain(path, &error))?,
                    Kind::CachedFile,
                )
            }
            Err(error) => return Err(explain(path, &error)),
        };
        match file.try_lock() {
            // Some network file systems have no locks.
            Ok(()) | Err(TryLockError::Error(_)) => {}
            Err(TryLockError::WouldBlock) => return Err(explain(path, &Errno::EBUSY.into())),
        }
        let metadata = file.metadata()?;
        let size = metadata.len();
        if !metadata.is_file() || !size.is_multiple_of(sector_size.into()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{} is not a regular file of whole sectors of {sector_size} bytes",
                    path.display()
                ),
            ));
        }
        Ok(Self {
            size,
            sector_size,
            kind,
            name: path.display().to_string(),
            path: path.to_owned(),
            file,
        })
    }

    /// Whether reads and writes bypass the page cache (`O_DIRECT`), as they always do on a block device.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.kind != Kind::CachedFile
    }

    /// What every device understands.
    fn write_zeros(&self, offset: u64, length: u64) -> io::Result<ZeroMethod> {
        let zeros = AlignedBuffer::new(TRANSFER);
        let mut at = offset;
        let end = offset + length;
        while at < end {
            let part = usize::try_from(end - at).map_or(TRANSFER, |rest| rest.min(TRANSFER));
            self.write_at(&zeros[..part], at)?;
            at += part as u64;
        }
        Ok(ZeroMethod::Write)
    }
}

impl Target for BlockDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn sector_size(&self) -> u32 {
        self.sector_size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<ZeroMethod> {
        let (made, method) = if self.kind == Kind::Device {
            (
                sys::zero_out(&self.file, offset, length),
                ZeroMethod::ZeroOut,
            )
        } else {
            (punch(&self.file, offset, length), ZeroMethod::Fallocate)
        };
        match made {
            Ok(()) => Ok(method),
            Err(error) if is_unsupported(&error) => self.write_zeros(offset, length),
            Err(error) => Err(error),
        }
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        if self.kind == Kind::Device {
            sys::discard(&self.file, offset, length)
        } else {
            // A new file has nothing to forget, and an old file keeps its blocks.
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_all()?;
        if self.kind == Kind::CachedFile {
            posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        }
        Ok(())
    }

    fn reread_partition_table(&self) -> io::Result<()> {
        if self.kind != Kind::Device {
            return Ok(());
        }
        sys::flush_buffers(&self.file)?;
        match sys::reread_partitions(&self.file) {
            // A device that cannot have partitions, as a loop device without partition scanning.
            Err(error) if is_unsupported(&error) => Ok(()),
            Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => Err(io::Error::new(
                error.kind(),
                "a partition of it is in use; unmount it, or reboot",
            )),
            result => result,
        }
    }

    fn partition_table(&self) -> io::Result<Option<Vec<Partition>>> {
        // A file does not know the size of its sectors.
        let table = gild_probe::partition_table_for_sectors(&self.path, self.sector_size)
            .map_err(io::Error::other)?;
        Ok(table.map(|table| {
            table
                .partitions
                .into_iter()
                .map(|partition| Partition {
                    number: partition.number,
                    start: partition.start,
                    length: partition.length,
                    kind: partition.kind,
                    uuid: partition.uuid,
                    name: partition.name,
                })
                .collect()
        }))
    }
}

fn writable(flags: i32) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(flags);
    options
}

/// Opens a file past the page cache, and tries whether its file system takes transfers of one sector.
fn open_direct(path: &Path, sector_size: u32) -> io::Result<File> {
    let file = writable(O_DIRECT).open(path)?;
    file.read_at(&mut AlignedBuffer::new(sector_size as usize), 0)?;
    Ok(file)
}

fn explain(path: &Path, error: &io::Error) -> io::Error {
    let path = path.display();
    let message = if error.raw_os_error() == Some(Errno::EBUSY as i32) {
        format!("{path} is in use: mounted, swap, part of an array, or held by another program")
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        format!("opening {path} was not allowed")
    } else {
        format!("opening {path}: {error}")
    };
    io::Error::new(error.kind(), message)
}

fn punch(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let (offset, length) = (i64::try_from(offset), i64::try_from(length));
    let too_far = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    Ok(fallocate(
        file,
        mode,
        offset.map_err(too_far)?,
        length.map_err(too_far)?,
    )?)
}

fn is_unsupported(error: &io::Error) -> bool {
    let unsupported = [
        Errno::EOPNOTSUPP,
        Errno::ENOTTY,
        Errno::EINVAL,
        Errno::ENOSYS,
    ];
    unsupported
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}
