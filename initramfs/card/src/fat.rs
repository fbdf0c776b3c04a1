//! The card's file system: made in one go, or read.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};

use crate::layout::LABEL;

/// As in the images of Raspberry Pi OS, which the boot ROM is known to read.
const CLUSTER: u32 = 2048;
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

impl<D: Write + Seek> Write for Range<'_, D> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let part = self.part(data.len());
        self.disk.seek(SeekFrom::Start(self.start + self.at))?;
        let written = self.disk.write(&data[..part])?;
        self.at += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.flush()
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

/// A disk that is only looked at.
struct ReadOnly<D>(D);

impl<D: Read> Read for ReadOnly<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<D: Seek> Seek for ReadOnly<D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl<D> Write for ReadOnly<D> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a file system with these files in a range of a disk that reads as zero there. The same files and number
/// give the same bytes: all times are the beginning of 1980.
pub fn make(
    disk: &mut (impl Read + Write + Seek),
    start: u64,
    length: u64,
    volume_id: u32,
    files: &Files,
) -> io::Result<()> {
    let mut range = Range {
        disk,
        start,
        length,
        at: 0,
    };
    let mut label = [b' '; 11];
    label[..LABEL.len()].copy_from_slice(LABEL.as_bytes());
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(CLUSTER)
        .volume_id(volume_id)
        .volume_label(label);
    fatfs::format_volume(&mut range, options)?;
    let volume = FileSystem::new(&mut range, FsOptions::new())?;
    {
        let root = volume.root_dir();
        for (path, content) in files {
            for (slash, _) in path.match_indices('/') {
                root.create_dir(&path[..slash])?;
            }
            root.create_file(path)?.write_all(content)?;
        }
    }
    volume.unmount()
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
    let mut disk = ReadOnly(disk);
    let range = Range {
        disk: &mut disk,
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
