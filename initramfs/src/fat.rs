//! Reads the card's file system. It is made in [`crate::mkfs`], which shares nothing with this.
//!
//! Our own, because a card that comes back from the field may be damaged, and the crates that read FAT trust what they
//! read: every number is checked here before it is used.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom};

/// Files by their path. Directories are made as needed.
pub type Files = BTreeMap<String, Vec<u8>>;

const SECTOR: u64 = 512;
const ENTRY: usize = 32;
const ATTRIBUTES: usize = 11;
const VOLUME_LABEL: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
const LONG_NAME: u8 = 0x0f;
const DELETED: u8 = 0xe5;
/// Fewer clusters than this make it a FAT16.
const LEAST_CLUSTERS: u64 = 65_525;
const END_OF_CHAIN: u32 = 0x0fff_fff8;
/// As the format has it: 65536 entries. A directory that is a loop is longer.
const MAX_DIRECTORY: u64 = 2 << 20;
/// The longest file that is read: a flash backup is the largest there is.
const MAX_FILE: u32 = 64 << 20;

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

/// Reads a file system with all its files. Nothing is written.
pub fn read(disk: &mut (impl Read + Seek), start: u64, length: u64) -> io::Result<Volume> {
    let mut boot = [0; 512];
    disk.seek(SeekFrom::Start(start))?;
    disk.read_exact(&mut boot)?;
    let mut reader = Reader::new(disk, start, length, &boot)?;
    let mut volume = Volume {
        label: String::new(),
        id: word(&boot, 67),
        files: Files::new(),
    };
    let mut seen = BTreeSet::new();
    let mut room = length;
    let mut folders = vec![(String::new(), word(&boot, 44))];
    while let Some((path, cluster)) = folders.pop() {
        if !seen.insert(cluster) {
            return Err(damaged("a directory is in two places"));
        }
        let bytes = reader.chain(cluster, MAX_DIRECTORY + 1)?;
        if bytes.len() as u64 > MAX_DIRECTORY {
            return Err(damaged("a directory is too long"));
        }
        for found in entries(&bytes) {
            let path = format!("{path}{}", found.name);
            if found.attributes & VOLUME_LABEL != 0 {
                volume.label = found.name;
            } else if found.attributes & DIRECTORY != 0 {
                folders.push((path + "/", found.cluster));
            } else {
                // Files that share their clusters would make more of the card than there is.
                let left = room.checked_sub(found.length.into());
                room = left
                    .filter(|_| found.length <= MAX_FILE)
                    .ok_or(damaged("a file is too long"))?;
                let content = reader.chain(found.cluster, found.length.into())?;
                if content.len() as u64 != u64::from(found.length) {
                    return Err(damaged("a file ends too early"));
                }
                volume.files.insert(path, content);
            }
        }
    }
    Ok(volume)
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged: {what}"))
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) | u32::from(half(bytes, at + 2)) << 16
}

/// The table and where the clusters are.
struct Reader<'d, D> {
    disk: &'d mut D,
    table: Vec<u8>,
    /// First byte of the first cluster.
    data: u64,
    cluster: u64,
}

impl<'d, D: Read + Seek> Reader<'d, D> {
    fn new(disk: &'d mut D, start: u64, length: u64, boot: &[u8; 512]) -> io::Result<Self> {
        let (per_cluster, fats) = (u64::from(boot[13]), u64::from(boot[16]));
        let (reserved, sectors, table) = (
            u64::from(half(boot, 14)),
            u64::from(word(boot, 32)),
            u64::from(word(boot, 36)),
        );
        let is_fat32 = boot[510..] == [0x55, 0xaa] && half(boot, 17) == 0 && half(boot, 22) == 0;
        if !is_fat32 || u64::from(half(boot, 11)) != SECTOR {
            return Err(damaged(
                "it is not a FAT32 file system with sectors of 512 bytes",
            ));
        }
        let first = reserved + fats * table;
        let clusters = match per_cluster {
            0 => 0,
            _ => sectors.saturating_sub(first) / per_cluster,
        };
        let agree =
            reserved > 0 && fats > 0 && sectors * SECTOR <= length && clusters + 2 <= table * 128;
        if !agree || clusters < LEAST_CLUSTERS {
            return Err(damaged(
                "the sizes in its boot sector contradict each other",
            ));
        }
        let entries = usize::try_from((clusters + 2) * 4).map_err(io::Error::other)?;
        let mut table = vec![0; entries];
        disk.seek(SeekFrom::Start(start + reserved * SECTOR))?;
        disk.read_exact(&mut table)?;
        Ok(Self {
            disk,
            table,
            data: start + first * SECTOR,
            cluster: per_cluster * SECTOR,
        })
    }

    /// The bytes of a chain of clusters, at most so many.
    fn chain(&mut self, first: u32, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut cluster = first;
        while (bytes.len() as u64) < limit && cluster < END_OF_CHAIN {
            let entry = usize::try_from(cluster).map_err(io::Error::other)? * 4;
            if cluster < 2 || entry >= self.table.len() {
                return Err(damaged("a file leads outside"));
            }
            let at = self.data + u64::from(cluster - 2) * self.cluster;
            self.disk.seek(SeekFrom::Start(at))?;
            let part = self.cluster.min(limit - bytes.len() as u64);
            let read = self.disk.by_ref().take(part).read_to_end(&mut bytes)?;
            if read as u64 != part {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            cluster = word(&self.table, entry) & 0x0fff_ffff;
        }
        Ok(bytes)
    }
}

/// One name in a directory.
struct Entry {
    name: String,
    attributes: u8,
    cluster: u32,
    length: u32,
}

/// The names in a directory, without itself and its parent.
fn entries(bytes: &[u8]) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut long = Vec::new();
    for entry in bytes.chunks_exact(ENTRY).take_while(|entry| entry[0] != 0) {
        let attributes = entry[ATTRIBUTES];
        if attributes & LONG_NAME == LONG_NAME && entry[0] != DELETED {
            // The last piece comes first.
            let piece = [1..11, 14..26, 28..32]
                .into_iter()
                .flat_map(|range| entry[range].chunks_exact(2));
            let units: Vec<u16> = piece
                .map(|unit| half(unit, 0))
                .take_while(|unit| *unit != 0)
                .collect();
            long.splice(..0, units);
            continue;
        }
        let name = match std::mem::take(&mut long) {
            units if units.is_empty() => short_name(entry, attributes & VOLUME_LABEL != 0),
            units => String::from_utf16_lossy(&units),
        };
        if entry[0] != DELETED && !matches!(name.as_str(), "." | "..") {
            found.push(Entry {
                name,
                attributes,
                cluster: u32::from(half(entry, 20)) << 16 | u32::from(half(entry, 26)),
                length: word(entry, 28),
            });
        }
    }
    found
}

/// A short name, in the case that it is shown in. A label has no dot.
fn short_name(entry: &[u8], is_label: bool) -> String {
    let text = |bytes: &[u8], lower: bool| {
        let text = String::from_utf8_lossy(bytes).trim_end().to_owned();
        if lower { text.to_lowercase() } else { text }
    };
    if is_label {
        return text(&entry[..11], false);
    }
    let stem = text(&entry[..8], entry[12] & 0x08 != 0);
    match text(&entry[8..11], entry[12] & 0x10 != 0) {
        suffix if suffix.is_empty() => stem,
        suffix => format!("{stem}.{suffix}"),
    }
}
