//! Where in a disk image the root file system is.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use ext4_view::{Ext4, Ext4Read};

use super::BaseImageError;

const SECTOR: u64 = 512;
const MBR_ENTRIES: usize = 446;
const MBR_GPT: u8 = 0xee;

/// A part of a disk image.
struct Part {
    disk: Arc<File>,
    start: u64,
}

impl Ext4Read for Part {
    fn read(
        &mut self,
        start: u64,
        bytes: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        Ok(self.disk.read_exact_at(bytes, self.start + start)?)
    }
}

/// The first file system that holds an operating system.
pub fn find_root(mut disk: File, path: &Path) -> Result<Ext4, BaseImageError> {
    let starts = partitions(&mut disk).map_err(|source| BaseImageError::Io {
        action: "read the partition table of",
        path: path.to_owned(),
        source,
    })?;
    let disk = Arc::new(disk);
    let mut problems = Vec::new();
    for start in &starts {
        let part = Part {
            disk: Arc::clone(&disk),
            start: *start,
        };
        match Ext4::load(Box::new(part)) {
            Ok(root) if root.exists("/usr/lib/os-release").unwrap_or(false) => return Ok(root),
            Ok(_) => problems.push(format!("that at {start} is not an operating system")),
            Err(error) => problems.push(format!("at {start}: {error}")),
        }
    }
    let found = match problems.as_slice() {
        [] => ": it has no partitions".to_owned(),
        _ => format!(" ({})", problems.join("; ")),
    };
    Err(BaseImageError::NoRoot {
        path: path.to_owned(),
        found,
    })
}

/// Where the partitions start, in bytes.
fn partitions(disk: &mut File) -> std::io::Result<Vec<u64>> {
    let mut mbr = [0; 512];
    disk.read_exact_at(&mut mbr, 0)?;
    if mbr[510..] != [0x55, 0xaa] {
        return Ok(Vec::new());
    }
    let entries: Vec<(u8, u64)> = mbr[MBR_ENTRIES..510]
        .chunks(16)
        .map(|entry| {
            let start = u32::from_le_bytes([entry[8], entry[9], entry[10], entry[11]]);
            (entry[4], u64::from(start) * SECTOR)
        })
        .filter(|(kind, start)| *kind != 0 && *start != 0)
        .collect();
    if !entries.iter().any(|(kind, _)| *kind == MBR_GPT) {
        return Ok(entries.into_iter().map(|(_, start)| start).collect());
    }
    disk.seek(SeekFrom::Start(0))?;
    let table = gptman::GPT::read_from(disk, SECTOR).map_err(std::io::Error::other)?;
    Ok(table
        .iter()
        .filter(|(_, partition)| partition.is_used())
        .map(|(_, partition)| partition.starting_lba * SECTOR)
        .collect())
}
