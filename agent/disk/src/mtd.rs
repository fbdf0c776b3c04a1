//! NOR flash as the kernel's MTD layer shows it: the memory that a board's firmware starts from.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::sys;

/// mtd/mtd-abi.h: `MTD_NORFLASH`.
const NOR: u8 = 3;

/// A NOR flash, or a partition of one. Every call opens the device again, so that nothing is remembered between a
/// write and the look at what it did.
#[derive(Clone, Debug)]
pub struct NorFlash {
    path: PathBuf,
    size: u32,
    block: u32,
}

impl NorFlash {
    /// Looks at a device node, `/dev/mtd0`. Other kinds of flash are refused.
    pub fn open(path: &Path) -> io::Result<Self> {
        let info = sys::mtd_info(&File::open(path)?)?;
        if info.kind != NOR || info.erase_size == 0 {
            let kind = format!("{} is not NOR flash", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, kind));
        }
        Ok(Self {
            path: path.to_owned(),
            size: info.size,
            block: info.erase_size,
        })
    }

    /// Bytes of the flash.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size as usize
    }

    /// Bytes of an erase block.
    #[must_use]
    pub fn block(&self) -> usize {
        self.block as usize
    }

    /// Reads from the chip: the kernel caches nothing of it.
    pub fn read(&self, place: Range<usize>) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; place.len()];
        File::open(&self.path)?.read_exact_at(&mut bytes, place.start as u64)?;
        Ok(bytes)
    }

    /// Takes away the protection of all of it. Most flash has none, and says so; a flash that stays protected is found by
    /// reading back what was erased.
    pub fn unlock(&self) {
        let unlocked = self
            .writable()
            .and_then(|device| sys::mtd_unlock(&device, 0, self.size));
        if let Err(error) = unlocked {
            log::debug!("{}: unlocking: {error}", self.path.display());
        }
    }

    /// Erases whole blocks.
    pub fn erase(&self, place: Range<usize>) -> io::Result<()> {
        sys::mtd_erase(
            &self.writable()?,
            number(place.start)?,
            number(place.len())?,
        )
    }

    /// Programs erased bytes.
    pub fn write(&self, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.writable()?.write_all_at(bytes, at as u64)
    }

    fn writable(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(&self.path)
    }
}

fn number(bytes: usize) -> io::Result<u32> {
    u32::try_from(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_flash_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        NorFlash::open(file.path()).expect_err("a regular file is not a flash");
        NorFlash::open(Path::new("/dev/null")).expect_err("a device that is not a flash");
    }
}
