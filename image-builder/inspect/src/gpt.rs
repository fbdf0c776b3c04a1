//! The partition table, read without trusting it: both copies, both checksums.

use std::io;

use crate::range::Range;

/// The sector sizes that disks have.
const SECTORS: [u64; 2] = [512, 4096];

/// How a table begins.
const MAGIC: &[u8] = b"EFI PART";

/// Bytes of the unused tail of a header are not looked at; the format fixes the first 92.
const HEADER: usize = 92;

/// Larger entry arrays than this are damage, not tables.
const MAX_ENTRIES: u64 = 1024;

/// Bytes of the entries of nearly every table.
const USUAL_ENTRIES: u64 = 128 * 128;

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Type GUID, lower case.
    pub kind: String,
    /// Own GUID, lower case: what PARTUUID= means.
    pub guid: String,
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub length: u64,
    /// Attribute bits.
    pub attributes: u64,
}

/// What the partition table says, and what is wrong with it.
pub struct Gpt {
    /// Partitions in the order of their entries.
    pub partitions: Vec<Partition>,
    /// The ranges of bytes (start, length) that the table itself takes.
    pub own: Vec<(u64, u64)>,
    /// What is wrong, in words.
    pub faults: Vec<String>,
}

struct Table {
    header: Vec<u8>,
    entries: Vec<u8>,
    entry_size: usize,
    entries_at: u64,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].try_into().map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].try_into().map_or(0, u64::from_le_bytes)
}

/// A GUID as text: its first three fields are little-endian.
fn guid(bytes: &[u8]) -> String {
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let plain: Vec<u8> = order.iter().map(|&index| bytes[index]).collect();
    let hex = hex::encode(plain);
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

/// The sector size of the disk that the image is for: the table is in the second sector.
fn sector_size(disk: &Range) -> io::Result<u64> {
    for size in SECTORS {
        if disk.len().is_multiple_of(size) && disk.vec_at(size, MAGIC.len())? == MAGIC {
            return Ok(size);
        }
    }
    Ok(SECTORS[0])
}

/// Reads one copy of the table.
fn table(disk: &Range, size: u64, sector: u64) -> Result<Table, String> {
    let read = |offset, length| {
        disk.vec_at(offset, length)
            .map_err(|error| format!("cannot be read: {error}"))
    };
    let header = read(sector * size, HEADER)?;
    if &header[..8] != MAGIC {
        return Err("is not there".into());
    }
    let mut unsummed = header.clone();
    unsummed[16..20].fill(0);
    if u32_at(&header, 12) as usize != HEADER || crc32fast::hash(&unsummed) != u32_at(&header, 16) {
        return Err("has a wrong checksum".into());
    }
    if u64_at(&header, 24) != sector {
        return Err("says that it lies elsewhere".into());
    }
    let (count, entry_size) = (u64::from(u32_at(&header, 80)), u32_at(&header, 84) as usize);
    if count > MAX_ENTRIES || !(128..=4096).contains(&entry_size) {
        return Err("has an impossible size".into());
    }
    let entries_at = u64_at(&header, 72)
        .checked_mul(size)
        .ok_or("has its entries outside the image")?;
    let length = usize::try_from(count).map_or(0, |count| count * entry_size);
    let entries = read(entries_at, length)?;
    if crc32fast::hash(&entries) != u32_at(&header, 88) {
        return Err("has entries with a wrong checksum".into());
    }
    Ok(Table {
        header,
        entries,
        entry_size,
        entries_at,
    })
}

/// Reads both copies of the table; `Err` if neither can be used.
pub fn read(disk: &Range) -> io::Result<Result<Gpt, String>> {
    let size = sector_size(disk)?;
    let last = disk.len() / size - 1;
    let (primary, backup) = (table(disk, size, 1), table(disk, size, last));
    let mut faults = Vec::new();
    for (name, copy) in [("primary", &primary), ("backup", &backup)] {
        if let Err(fault) = copy {
            faults.push(format!("the {name} partition table {fault}"));
        }
    }
    if let (Ok(primary), Ok(backup)) = (&primary, &backup) {
        let same = primary.entries == backup.entries
            && primary.header[40..72] == backup.header[40..72]
            && u64_at(&primary.header, 32) == last
            && u64_at(&backup.header, 32) == 1;
        if !same {
            faults.push("the two partition tables differ".into());
        }
    }
    let mut boot = disk.vec_at(0, 512)?;
    if boot[510..] != [0x55, 0xaa] || boot[450] != 0xee {
        faults.push("the protective MBR is missing".into());
    }
    boot.truncate(440);
    if boot.iter().any(|&byte| byte != 0) {
        faults.push("the first sector has boot code".into());
    }
    // A copy that cannot be read takes the place where it should be.
    let place = |copy: &Result<Table, String>, usual: u64| match copy {
        Ok(table) => (table.entries_at, table.entries.len() as u64),
        Err(_) => (usual, USUAL_ENTRIES),
    };
    let own = vec![
        (0, 2 * size),
        place(&primary, 2 * size),
        place(&backup, last * size - USUAL_ENTRIES),
        (last * size, size),
    ];
    let table = match (primary, backup) {
        (Ok(table), _) | (Err(_), Ok(table)) => table,
        (Err(fault), Err(_)) => return Ok(Err(format!("its partition table {fault}"))),
    };
    let mut partitions = Vec::new();
    for entry in table.entries.chunks_exact(table.entry_size) {
        if entry[..16].iter().all(|&byte| byte == 0) {
            continue;
        }
        let (first, end) = (u64_at(entry, 32), u64_at(entry, 40).saturating_add(1));
        if first >= end || end > last {
            return Ok(Err("a partition lies outside the image".into()));
        }
        partitions.push(Partition {
            kind: guid(&entry[..16]),
            guid: guid(&entry[16..32]),
            start: first * size,
            length: (end - first) * size,
            attributes: u64_at(entry, 48),
        });
    }
    Ok(Ok(Gpt {
        partitions,
        own,
        faults,
    }))
}
