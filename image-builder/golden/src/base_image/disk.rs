//! Where in a disk image the root file system is.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use ext4_view::{Ext4, Ext4Read};

use super::BaseImageError;

/// The sector sizes that disks have.
const SECTORS: [u64; 2] = [512, 4096];
const MBR_ENTRIES: usize = 446;
const MBR_GPT: u8 = 0xee;
const GPT_MAGIC: [u8; 8] = *b"EFI PART";

/// What a Linux may have as its root and gild does not read: name, place in the partition, bytes there.
const OTHER_ROOTS: [(&str, u64, &[u8]); 6] = [
    ("btrfs", 0x1_0040, b"_BHRfS_M"),
    ("XFS", 0, b"XFSB"),
    ("F2FS", 0x400, &[0x10, 0x20, 0xf5, 0xf2]),
    ("squashfs", 0, b"hsqs"),
    ("encrypted by LUKS", 0, b"LUKS\xba\xbe"),
    ("in LVM", 0x218, b"LVM2 001"),
];

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

/// The first file system that holds an operating system, and its kernel too.
pub fn find_root(mut disk: File, path: &Path) -> Result<Ext4, BaseImageError> {
    let starts = partitions(&mut disk).map_err(|source| BaseImageError::Io {
        action: "read the partition table of",
        path: path.to_owned(),
        source,
    })?;
    let disk = Arc::new(disk);
    let mut problems = Vec::new();
    let mut root = None;
    let mut kernel_elsewhere = false;
    for start in &starts {
        let part = Part {
            disk: Arc::clone(&disk),
            start: *start,
        };
        match Ext4::load(Box::new(part)) {
            Ok(found) if found.exists("/usr/lib/os-release").unwrap_or(false) => {
                root.get_or_insert(found);
            }
            Ok(found) => {
                kernel_elsewhere |= has_kernel_in(&found, "/");
                problems.push(format!("that at {start} is not an operating system"));
            }
            Err(error) => problems.push(format!("at {start}: {error}")),
        }
    }
    let Some(root) = root else {
        if let Some(kind) = starts.iter().find_map(|start| other_root(&disk, *start)) {
            return Err(BaseImageError::OtherRoot {
                path: path.to_owned(),
                kind,
            });
        }
        let found = match problems.as_slice() {
            [] => ": it has no partitions".to_owned(),
            _ => format!(" ({})", problems.join("; ")),
        };
        return Err(BaseImageError::NoRoot {
            path: path.to_owned(),
            found,
        });
    };
    if !has_kernel(&root) && (kernel_elsewhere || mounts_boot(&root)) {
        return Err(BaseImageError::SeparateBoot {
            path: path.to_owned(),
        });
    }
    Ok(root)
}

/// Whether a root has a kernel where Debian or a vendor puts it.
fn has_kernel(root: &Ext4) -> bool {
    let modules = names(root, "/usr/lib/modules");
    has_kernel_in(root, "/boot")
        || modules.iter().any(|version| {
            let image = format!("/usr/lib/modules/{version}/vmlinuz");
            root.exists(image.as_str()).unwrap_or(false)
        })
}

fn has_kernel_in(root: &Ext4, folder: &str) -> bool {
    let is_kernel = |name: &String| name.starts_with("vmlinuz") || name.starts_with("Image");
    names(root, folder).iter().any(is_kernel)
}

/// The names in a folder. A folder that cannot be read has none here: the code that reads the whole root reports it.
fn names(root: &Ext4, folder: &str) -> Vec<String> {
    let entries = root.read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().as_str().ok().map(str::to_owned))
        .collect()
}

/// Whether the root has its `/boot` on another partition.
fn mounts_boot(root: &Ext4) -> bool {
    let table = root.read("/etc/fstab").unwrap_or_default();
    String::from_utf8_lossy(&table)
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .any(|line| line.split_whitespace().nth(1) == Some("/boot"))
}

/// The kind of the partition that starts here, if it is not ext4 and a Linux may have it as its root.
fn other_root(disk: &File, start: u64) -> Option<&'static str> {
    let is = |place: u64, magic: &[u8]| {
        let mut bytes = vec![0; magic.len()];
        disk.read_exact_at(&mut bytes, start + place).is_ok() && bytes == magic
    };
    OTHER_ROOTS
        .into_iter()
        .find(|(_, place, magic)| is(*place, magic))
        .map(|(name, _, _)| name)
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
            (entry[4], u64::from(start) * SECTORS[0])
        })
        .filter(|(kind, start)| *kind != 0 && *start != 0)
        .collect();
    if !entries.iter().any(|(kind, _)| *kind == MBR_GPT) {
        return Ok(entries.into_iter().map(|(_, start)| start).collect());
    }
    // The table is in the second sector, which says how large they are.
    let is_table = |size: &u64| {
        let mut magic = GPT_MAGIC.map(|_| 0);
        disk.read_exact_at(&mut magic, *size).is_ok() && magic == GPT_MAGIC
    };
    let sector = SECTORS.into_iter().find(is_table).unwrap_or(SECTORS[0]);
    disk.seek(SeekFrom::Start(0))?;
    let table = gptman::GPT::read_from(disk, sector).map_err(std::io::Error::other)?;
    Ok(table
        .iter()
        .filter(|(_, partition)| partition.is_used())
        .map(|(_, partition)| partition.starting_lba * sector)
        .collect())
}
