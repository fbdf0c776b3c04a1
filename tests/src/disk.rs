//! The files behind a virtual board's disks.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::command::{command, run};

const BLOCK: usize = 1 << 20;

/// A blank disk: a sparse file.
pub fn blank(path: &Path, size: u64) -> Result<()> {
    File::create(path)
        .and_then(|file| file.set_len(size))
        .with_context(|| format!("creating {}", path.display()))
}

/// A used disk: every byte of it has this value.
pub fn filled(path: &Path, size: u64, value: u8) -> Result<()> {
    use std::io::Write;
    let mut file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
    let block = vec![value; BLOCK];
    ensure!(
        size.is_multiple_of(BLOCK as u64),
        "a filled disk has whole mebibytes, not {size} bytes"
    );
    for _ in 0..size / BLOCK as u64 {
        file.write_all(&block)?;
    }
    Ok(())
}

/// Copies a disk. Zeros take no space in the copy.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    run(command("cp").arg("--sparse=always").args([from, to]))?;
    Ok(())
}

/// Bytes of a sparse file that have ever been written.
pub fn allocated(path: &Path) -> Result<u64> {
    let metadata =
        std::fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?;
    Ok(metadata.blocks() * 512)
}

/// Turns over one bit of the byte at `offset`.
pub fn flip_bit(path: &Path, offset: u64) -> Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    byte[0] ^= 0x10;
    file.write_all_at(&byte, offset)?;
    Ok(())
}

/// The offsets of the first blocks of 4 KiB that differ between `image` and the start of `disk`. Empty if the disk carries the image byte
/// for byte.
pub fn differences(image: &Path, disk: &Path) -> Result<Vec<u64>> {
    const PAGE: usize = 4096;
    const ENOUGH: usize = 16;
    let left = File::open(image).with_context(|| format!("opening {}", image.display()))?;
    let right = File::open(disk).with_context(|| format!("opening {}", disk.display()))?;
    let size = left.metadata()?.len();
    ensure!(
        right.metadata()?.len() >= size,
        "{} is smaller than {}",
        disk.display(),
        image.display()
    );
    let (mut a, mut b) = (vec![0; BLOCK], vec![0; BLOCK]);
    let mut found = Vec::new();
    let mut offset = 0;
    while offset < size && found.len() < ENOUGH {
        let length = usize::try_from(size - offset).unwrap_or(BLOCK).min(BLOCK);
        left.read_exact_at(&mut a[..length], offset)?;
        right.read_exact_at(&mut b[..length], offset)?;
        if a[..length] != b[..length] {
            let pages = a[..length]
                .chunks(PAGE)
                .zip(b[..length].chunks(PAGE))
                .enumerate();
            found.extend(
                pages
                    .filter(|(_, (x, y))| x != y)
                    .map(|(page, _)| offset + (page * PAGE) as u64),
            );
        }
        offset += length as u64;
    }
    Ok(found)
}
