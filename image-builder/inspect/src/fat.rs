//! The boot partition: its files, and the data in free space.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};

use fatfs::{Dir, FileSystem, FsOptions};

use crate::range::Range;

/// No file that a rule reads is longer.
const MAX_READ: u64 = 1 << 20;

/// Folders in folders that no boot partition has.
const MAX_DEPTH: usize = 16;

/// The boot partition.
pub struct Fat {
    system: FileSystem<Range>,
    partition: Range,
    /// Paths in lower case, because FAT ignores case, and their lengths.
    pub files: BTreeMap<String, u64>,
}

impl Fat {
    /// Opens the file system in this partition.
    pub fn open(partition: Range) -> io::Result<Self> {
        let system = FileSystem::new(partition.clone(), FsOptions::new())?;
        let mut files = BTreeMap::new();
        walk(&system.root_dir(), "", MAX_DEPTH, &mut files)?;
        Ok(Self {
            system,
            partition,
            files,
        })
    }

    /// Is it FAT32, which both boards' firmware reads from a disk of any size?
    pub fn is_fat32(&self) -> bool {
        self.system.fat_type() == fatfs::FatType::Fat32
    }

    /// The volume's label.
    pub fn label(&self) -> io::Result<String> {
        let label = self.system.read_volume_label_from_root_dir()?;
        Ok(label.unwrap_or_else(|| self.system.volume_label()))
    }

    /// The volume's number as /dev/disk/by-uuid has it.
    pub fn uuid(&self) -> String {
        let id = self.system.volume_id();
        format!("{:04X}-{:04X}", id >> 16, id & 0xffff)
    }

    /// Opens a file; upper and lower case are the same.
    pub fn file(&self, path: &str) -> io::Result<impl Read + '_> {
        self.system.root_dir().open_file(path)
    }

    /// A file's bytes, if there is such a file.
    pub fn bytes(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        if !self.files.contains_key(&path.to_lowercase()) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        self.file(path)?.take(MAX_READ).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// A file's text, if there is such a file.
    pub fn text(&self, path: &str) -> io::Result<Option<String>> {
        let bytes = self.bytes(path)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The whole partition.
    pub fn partition(&self) -> Range {
        self.partition.clone()
    }

    /// The first byte that is not zero of each run of free clusters, as an offset in the partition.
    pub fn data_in_free_clusters(&self) -> io::Result<Vec<u64>> {
        let boot = self.partition.vec_at(0, 512)?;
        let u16_at = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let u32_at = |at: usize| u16_at(at) | u16_at(at + 2) << 16;
        let sector = u16_at(11);
        let cluster = u64::from(boot[13]) * sector;
        let table = u16_at(14) * sector;
        let table_length = u32_at(36) * sector;
        let data = table + u64::from(boot[16]) * table_length;
        if !self.is_fat32() || cluster == 0 || data > self.partition.len() {
            return Err(io::Error::new(ErrorKind::InvalidData, "not FAT32"));
        }
        let end = self.partition.len().min(u32_at(32) * sector);
        let count = end.saturating_sub(data) / cluster;
        let length = usize::try_from(((count + 2) * 4).min(table_length)).unwrap_or(0);
        let entries = self.partition.vec_at(table, length)?;
        let is_free = |entry: &[u8]| entry[..3] == [0; 3] && entry[3] << 4 == 0;
        let mut found = Vec::new();
        let mut run: Option<(u64, u64)> = None;
        let entries = entries.chunks_exact(4).skip(2).map(is_free);
        for (index, free) in (0..).zip(entries.chain([false])) {
            match (&mut run, free) {
                (Some((_, clusters)), true) => *clusters += 1,
                (None, true) => run = Some((index, 1)),
                (_, false) => {
                    if let Some((first, clusters)) = run.take() {
                        let start = data + first * cluster;
                        let part = self.partition.part(start, clusters * cluster);
                        found.extend(part.first_data()?.map(|at| start + at));
                    }
                }
            }
        }
        Ok(found)
    }
}

fn walk(
    folder: &Dir<'_, Range>,
    prefix: &str,
    deeper: usize,
    files: &mut BTreeMap<String, u64>,
) -> io::Result<()> {
    for entry in folder.iter() {
        let entry = entry?;
        let name = entry.file_name().to_lowercase();
        if name == "." || name == ".." {
            continue;
        }
        let path = format!("{prefix}{name}");
        if entry.is_dir() {
            let deeper = deeper.checked_sub(1).ok_or_else(|| {
                io::Error::new(ErrorKind::InvalidData, "its folders lead into each other")
            })?;
            walk(&entry.to_dir(), &format!("{path}/"), deeper, files)?;
        } else {
            files.insert(path, entry.len());
        }
    }
    Ok(())
}
