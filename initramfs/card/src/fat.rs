//! Reads the card's file system. It is made in [`crate::mkfs`], which shares nothing with this.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

use fatfs::{FatType, FileSystem, FsOptions};

/// Files by their path. Directories are made as needed.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A range of a disk, as a disk of its own.
struct Range<'d, D> {
    disk: &'d mut D,
    start: u64,
    length: u64,
    at: u64,
}

impl<D> Range<'_, D> {
    fn part(&self, length: usize) -> usize {
        usize::try_from(self.length.saturating_sub(self.at)).map_or(length, |rest| rest.min(length))
    }
}

impl<D: Read + Seek> Read for Range<'_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let part = self.part(buffer.len());
        self.disk.seek(SeekFrom::Start(self.start + self.at))?;
        let read = self.disk.read(&mut buffer[..part])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<D> Seek for Range<'_, D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// The reader asks for a disk that it could write to. It does not.
impl<D> Write for Range<'_, D> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a file system holds.
#[derive(Debug)]
pub struct Volume {
    /// Its label.
    pub label: String,
    /// Its number.
    pub id: u32,
    /// Its files, those without content too.
    pub files: Files,
}

/// The longest file that is read: a flash backup is the largest there is.
const MAX_FILE: u64 = 64 << 20;

/// Reads a file system with all its files. Nothing is written.
pub fn read(disk: &mut (impl Read + Seek), start: u64, length: u64) -> io::Result<Volume> {
    let range = Range {
        disk,
        start,
        length,
        at: 0,
    };
    let volume = FileSystem::new(range, FsOptions::new())?;
    if volume.fat_type() != FatType::Fat32 {
        return Err(io::Error::other("it is not FAT32"));
    }
    let mut files = Files::new();
    let mut folders = vec![(String::new(), volume.root_dir())];
    while let Some((path, folder)) = folders.pop() {
        for entry in folder.iter() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.as_str(), "." | "..") {
                continue;
            }
            if path.matches('/').count() > 8 {
                return Err(io::Error::other("its folders are nested too deeply"));
            }
            if entry.is_dir() {
                folders.push((format!("{path}{name}/"), entry.to_dir()));
                continue;
            }
            if entry.len() > MAX_FILE {
                return Err(io::Error::other(format!(
                    "{path}{name} has {} bytes",
                    entry.len()
                )));
            }
            let mut content = Vec::new();
            entry.to_file().read_to_end(&mut content)?;
            files.insert(format!("{path}{name}"), content);
        }
    }
    let label = volume.read_volume_label_from_root_dir()?;
    Ok(Volume {
        label: label.unwrap_or_default(),
        id: volume.volume_id(),
        files,
    })
}
