//! Makes the card's file system: FAT32, every file in one piece, all times the beginning of 1980.
//!
//! Our own, because the crates that write FAT leave directories that `fsck.vfat` wants to repair, and the boot ROM's
//! reader is said to be simple.

mod directory;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Seek, SeekFrom, Write};

use gild_card_format::names::LABEL;

use crate::fat::Files;
use crate::layout::{FAT_AT, FAT_LENGTH, SECTOR};
use directory::{Directory, Entry};

/// As in the images of Raspberry Pi OS, which the boot ROM is known to read.
const SECTORS_PER_CLUSTER: u32 = 4;
const CLUSTER: usize = SECTORS_PER_CLUSTER as usize * 512;
/// Boot sector, its copy, and the sector that describes free space.
const RESERVED: u32 = 32;
const INFO_SECTOR: u16 = 1;
const COPY_SECTOR: u16 = 6;
const FATS: u32 = 2;
/// The number of the first cluster, and the root directory's.
const FIRST: u32 = 2;
const END_OF_CHAIN: u32 = 0x0fff_ffff;
/// What the first entry of the table says: a fixed disk.
const MEDIUM: u32 = 0x0fff_fff8;

/// The sizes that follow from the partition's.
struct Geometry {
    sectors: u32,
    table_sectors: u32,
    clusters: u32,
}

impl Geometry {
    fn new(length: u64) -> io::Result<Self> {
        let sectors = u32::try_from(length / SECTOR).map_err(io::Error::other)?;
        // A sector of the table has room for 128 clusters, and every cluster takes its share of the tables.
        let per_table_sector = 128 * SECTORS_PER_CLUSTER + FATS;
        // Rounded, so that clusters lie on multiples of 4 KiB.
        let table_sectors = (sectors - RESERVED)
            .div_ceil(per_table_sector)
            .next_multiple_of(4);
        let clusters = (sectors - RESERVED - FATS * table_sectors) / SECTORS_PER_CLUSTER;
        Ok(Self {
            sectors,
            table_sectors,
            clusters,
        })
    }

    /// Where a cluster begins.
    fn offset(&self, cluster: u32) -> u64 {
        let first = RESERVED + FATS * self.table_sectors;
        u64::from(first + (cluster - FIRST) * SECTORS_PER_CLUSTER) * SECTOR
    }
}

/// Hands out clusters, one piece after another.
struct Table {
    entries: Vec<u32>,
    limit: u32,
}

impl Table {
    /// The first cluster of a piece of this many bytes; 0 for none.
    fn take(&mut self, bytes: usize) -> io::Result<u32> {
        let count = u32::try_from(bytes.div_ceil(CLUSTER)).map_err(io::Error::other)?;
        if count == 0 {
            return Ok(0);
        }
        let first = self.next();
        let last = first.saturating_add(count - 1);
        if last >= self.limit {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.entries.extend(first + 1..=last);
        self.entries.push(END_OF_CHAIN);
        Ok(first)
    }

    fn next(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }
}

/// Makes a file system with these files in the card's partition, on a disk that reads as zero. The same files and
/// number give the same bytes.
pub fn make(disk: &mut (impl Write + Seek), volume_id: u32, files: &Files) -> io::Result<()> {
    let geometry = Geometry::new(FAT_LENGTH)?;
    let mut table = Table {
        entries: vec![MEDIUM, END_OF_CHAIN],
        limit: FIRST + geometry.clusters,
    };
    let mut directories = directories(files);
    // The root first: its number is fixed. A folder comes before the folders in it.
    let mut places = BTreeMap::new();
    for (path, directory) in &directories {
        places.insert(path.clone(), table.take(directory.bytes(path.is_empty()))?);
    }
    let mut write = |at: u64, bytes: &[u8]| {
        disk.seek(SeekFrom::Start(FAT_AT + at))?;
        disk.write_all(bytes)
    };
    for (path, content) in files {
        let cluster = table.take(content.len())?;
        if cluster != 0 {
            write(geometry.offset(cluster), content)?;
        }
        let (folder, name) = split(path);
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        let directory = directories.get_mut(folder).ok_or(io::ErrorKind::NotFound)?;
        directory.set(name, Entry::File { cluster, length });
    }
    for (path, cluster) in places.iter().filter(|(path, _)| !path.is_empty()) {
        let (folder, name) = split(path);
        let directory = directories.get_mut(folder).ok_or(io::ErrorKind::NotFound)?;
        directory.set(name, Entry::Directory { cluster: *cluster });
    }
    for (path, directory) in &directories {
        let own = places[path];
        let bytes = match path.as_str() {
            "" => directory.root(LABEL),
            // The root is called 0 from below.
            _ => directory.below(
                own,
                Some(places[split(path).0]).filter(|parent| *parent != FIRST),
            ),
        };
        write(geometry.offset(own), &bytes)?;
    }
    let free = geometry.clusters + FIRST - table.next();
    let entries: Vec<u8> = table
        .entries
        .iter()
        .flat_map(|entry| entry.to_le_bytes())
        .collect();
    for copy in 0..FATS {
        write(
            u64::from(RESERVED + copy * geometry.table_sectors) * SECTOR,
            &entries,
        )?;
    }
    for start in [0, COPY_SECTOR] {
        let at = u64::from(start) * SECTOR;
        write(at, &boot_sector(&geometry, volume_id))?;
        write(
            at + u64::from(INFO_SECTOR) * SECTOR,
            &info_sector(free, table.next()),
        )?;
    }
    Ok(())
}

/// All directories with the names in them. The root's path is empty.
fn directories(files: &Files) -> BTreeMap<String, Directory> {
    let mut names: BTreeMap<String, BTreeSet<String>> =
        BTreeMap::from([(String::new(), BTreeSet::new())]);
    for mut path in files.keys().map(String::as_str) {
        while !path.is_empty() {
            let (folder, name) = split(path);
            names
                .entry(folder.to_owned())
                .or_default()
                .insert(name.to_owned());
            path = folder;
        }
    }
    names
        .into_iter()
        .map(|(path, names)| (path, Directory::new(names)))
        .collect()
}

/// A path's folder and its last name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn boot_sector(geometry: &Geometry, volume_id: u32) -> [u8; 512] {
    let mut sector = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
    // A jump over what follows, and the name of who made it.
    put(0, b"\xeb\x58\x90gild    ");
    put(11, &512u16.to_le_bytes());
    put(13, &[4]);
    put(14, &32u16.to_le_bytes());
    put(16, &[2]);
    put(21, &[0xf8]);
    // Sectors of a track and heads, as if there were any.
    put(24, &63u16.to_le_bytes());
    put(26, &255u16.to_le_bytes());
    let hidden = u32::try_from(FAT_AT / SECTOR).unwrap_or_default();
    put(28, &hidden.to_le_bytes());
    put(32, &geometry.sectors.to_le_bytes());
    put(36, &geometry.table_sectors.to_le_bytes());
    put(44, &FIRST.to_le_bytes());
    put(48, &INFO_SECTOR.to_le_bytes());
    put(50, &COPY_SECTOR.to_le_bytes());
    // Drive number, and that number, label and kind follow.
    put(64, &[0x80, 0, 0x29]);
    put(67, &volume_id.to_le_bytes());
    put(71, &directory::padded(LABEL));
    put(82, b"FAT32   ");
    put(510, &[0x55, 0xaa]);
    sector
}

fn info_sector(free: u32, next: u32) -> [u8; 512] {
    let mut sector = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"RRaA");
    put(484, b"rrAa");
    put(488, &free.to_le_bytes());
    put(492, &next.to_le_bytes());
    put(510, &[0x55, 0xaa]);
    sector
}
