//! The disk that this node runs from, read past every cache, and the card beside it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gild_card_format::names::SD_CARD;
use nix::fcntl::OFlag;

const MOUNTS: &str = "proc/self/mountinfo";
const ARGUMENTS: &str = "proc/cmdline";
const PARTITIONS: &str = "dev/disk/by-partuuid";
const BLOCK_NUMBERS: &str = "sys/dev/block";
pub(crate) const BLOCKS: &str = "sys/class/block";
pub(crate) const LABELS: &str = "dev/disk/by-label";
/// A multiple of every alignment that a disk may need for memory.
const PAGE: usize = 4096;

/// The disk that the root file system lies on.
#[derive(Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its device file.
    pub device: PathBuf,
    /// Length of its sectors, bytes.
    pub sector: usize,
}

impl Disk {
    /// Finds the NVMe disk whose partition is mounted at `/`, or lies below an overlay at `/`. No other disk counts.
    pub fn of_root(root: &Path) -> Result<Self> {
        let path = root.join(MOUNTS);
        let mounts =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let number = device_number(&mounts).context("no file system is mounted at /")?;
        let partition = match below_overlay(root, number) {
            Some(device) => device
                .and_then(|device| fs::canonicalize(root.join(BLOCKS).join(device)))
                .context("the kernel argument root= names a partition that is not there")?,
            None => fs::canonicalize(root.join(BLOCK_NUMBERS).join(number)).with_context(|| {
                format!(
                    "the root file system (device {number}) lies on no disk: nothing was changed"
                )
            })?,
        };
        if !partition.join("partition").exists() {
            bail!(
                "the root file system lies on {}, which is not a partition of a disk: nothing was changed",
                partition.display()
            );
        }
        let disk = partition.parent().context("a partition without a disk")?;
        let name = disk
            .file_name()
            .and_then(|name| name.to_str())
            .context("a disk without a name")?;
        if !name.starts_with("nvme") {
            bail!(
                "the root file system lies on {name}, and the flasher writes NVMe disks only: nothing was changed"
            );
        }
        let sector = fs::read_to_string(disk.join("queue/logical_block_size"))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .filter(|sector| matches!(*sector, 512 | PAGE))
            .with_context(|| format!("{name} does not say how long its sectors are"))?;
        Ok(Self {
            device: root.join("dev").join(name),
            sector,
        })
    }

    /// Its serial number, as the kernel has it.
    #[must_use]
    pub fn serial(&self, root: &Path) -> Option<String> {
        let name = self.device.file_name()?;
        let text = fs::read_to_string(root.join(BLOCKS).join(name).join("device/serial")).ok()?;
        Some(text.trim().to_owned())
    }

    /// Whether the root file system is an overlay.
    pub(crate) fn is_below_overlay(root: &Path) -> bool {
        let mounts = fs::read_to_string(root.join(MOUNTS)).unwrap_or_default();
        device_number(&mounts).is_some_and(is_virtual)
    }

    /// Whether the root file system certainly lies on no NVMe disk.
    #[must_use]
    pub fn is_elsewhere(root: &Path) -> bool {
        let mounts = fs::read_to_string(root.join(MOUNTS)).unwrap_or_default();
        let Some(number) = device_number(&mounts) else {
            return false;
        };
        if below_overlay(root, number).is_some() {
            return false;
        }
        let device = fs::canonicalize(root.join(BLOCK_NUMBERS).join(number));
        let is_other = device.is_ok_and(|device| {
            let name = device
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            name.is_some_and(|name| !name.starts_with("nvme"))
        });
        is_virtual(number) || is_other
    }

    /// Zeroes the first sector and checks it. Without that sector no partition table is valid, so neither the firmware nor the flasher
    /// still treats the disk as a node's. A power cut cannot leave half of it, because a disk writes a sector whole or not at all.
    pub fn make_unbootable(&self) -> Result<()> {
        self.replace(0, &vec![0; self.sector]).with_context(|| {
            format!(
                "making the first sector of {} zero: the disk may still boot",
                self.device.display()
            )
        })
    }

    /// Reads this range from the medium, not from a cache.
    pub fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut memory = vec![0; length + PAGE];
        let place = aligned(&mut memory, length);
        self.open(false)?.read_exact_at(place, offset)?;
        Ok(place.to_vec())
    }

    /// Writes these bytes to the medium and reads them back. They must be whole sectors.
    pub fn replace(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut memory = vec![0; bytes.len() + PAGE];
        let place = aligned(&mut memory, bytes.len());
        place.copy_from_slice(bytes);
        let disk = self.open(true).context("opening it for writing")?;
        disk.write_all_at(place, offset)
            .and_then(|()| disk.sync_all())
            .context("writing")?;
        drop(disk);
        let found = self.read(offset, bytes.len()).context("reading back")?;
        if found != bytes {
            bail!("the disk does not keep what is written to it");
        }
        Ok(())
    }

    fn open(&self, writable: bool) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(writable)
            .custom_flags((OFlag::O_DIRECT | OFlag::O_CLOEXEC).bits())
            .open(&self.device)
    }
}

fn aligned(memory: &mut [u8], length: usize) -> &mut [u8] {
    let start = memory.as_ptr().align_offset(PAGE);
    &mut memory[start..start + length]
}

/// If the root is an overlay: the partition on which the kernel was started, by its name. `None` if the root is not an overlay, or the
/// kernel's command line does not name a partition by UUID as gild's images do.
fn below_overlay(root: &Path, number: &str) -> Option<io::Result<OsString>> {
    if !is_virtual(number) {
        return None;
    }
    let arguments = fs::read_to_string(root.join(ARGUMENTS)).ok()?;
    let uuid = arguments
        .split_whitespace()
        .rev()
        .find_map(|word| word.strip_prefix("root=PARTUUID="))?
        .to_lowercase();
    let link = fs::read_link(root.join(PARTITIONS).join(uuid));
    Some(link.and_then(|link| {
        let name = link.file_name().map(ToOwned::to_owned);
        name.ok_or_else(|| io::ErrorKind::NotFound.into())
    }))
}

/// The kernel gives file systems without a device the number 0.
fn is_virtual(number: &str) -> bool {
    number.starts_with("0:")
}

/// `major:minor` of the file system at `/`. The last line counts, because a later mount covers earlier ones.
fn device_number(mounts: &str) -> Option<&str> {
    mounts
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            match fields[..] {
                [_, _, number, _, "/", ..] => Some(number),
                _ => None,
            }
        })
        .next_back()
}

/// Whether gild's flasher card is in a slot of this node.
#[must_use]
pub fn has_flasher_card(root: &Path) -> bool {
    has_card(root)
        && root
            .join(LABELS)
            .join(gild_card_format::names::LABEL)
            .exists()
}

/// Whether a card is in a slot of this node.
#[must_use]
pub fn has_card(root: &Path) -> bool {
    fs::read_dir(root.join(BLOCKS))
        .into_iter()
        .flatten()
        .flatten()
        .any(|block| is_card(&block.path()))
}

/// Whether a block device, by its folder in sysfs, is an SD card.
pub(crate) fn is_card(block: &Path) -> bool {
    fs::read_to_string(block.join("device/type")).is_ok_and(|kind| kind.trim() == SD_CARD)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const OVERLAY: &str = "22 1 0:21 / / rw - overlay overlay rw\n";
    const ROOT: &str = "21 20 259:2 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
                        30 21 259:1 / /boot/firmware rw - vfat /dev/nvme0n1p1 rw\n";

    /// A machine whose root is on the given device of the given disk.
    fn machine(mounts: &str, disk: &str, partition: bool) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        let at = |path: &str| root.path().join(path);
        let device = format!("sys/devices/{disk}/{disk}p2");
        for directory in [
            &*device,
            &format!("sys/devices/{disk}/queue"),
            BLOCK_NUMBERS,
            "proc/self",
            "dev",
        ] {
            fs::create_dir_all(at(directory)).expect("a directory");
        }
        if partition {
            fs::write(at(&device).join("partition"), "2\n").expect("a partition");
        }
        fs::write(
            at(&format!("sys/devices/{disk}/queue/logical_block_size")),
            "512\n",
        )
        .expect("a size");
        symlink(at(&device), at(BLOCK_NUMBERS).join("259:2")).expect("a number");
        fs::write(at(MOUNTS), mounts).expect("mounts");
        root
    }

    #[test]
    fn the_disk_is_that_of_the_root_file_system() {
        let root = machine(ROOT, "nvme0n1", true);
        let disk = Disk::of_root(root.path()).expect("a disk");
        assert_eq!(disk.device, root.path().join("dev/nvme0n1"));
        assert_eq!(disk.sector, 512);
    }

    #[test]
    fn the_disk_below_an_overlay_is_the_kernel_root_s() {
        let root = machine(OVERLAY, "nvme0n1", true);
        let at = |path: &str| root.path().join(path);
        let blocks = at(BLOCKS);
        fs::create_dir_all(&blocks).expect("blocks");
        symlink(
            at("sys/devices/nvme0n1/nvme0n1p2"),
            blocks.join("nvme0n1p2"),
        )
        .expect("a block");
        let start = |arguments: &str| fs::write(at(ARGUMENTS), arguments).expect("arguments");

        start("root=/dev/nfs rw");
        assert!(Disk::is_elsewhere(root.path()));
        start("root=PARTUUID=0B0E-2 rw overlayroot=tmpfs\n");
        let error = Disk::of_root(root.path()).expect_err("no such partition yet");
        assert!(format!("{error:#}").contains("not there"), "{error:#}");
        assert!(!Disk::is_elsewhere(root.path()), "it may come");
        fs::create_dir_all(at(PARTITIONS)).expect("links");
        symlink("../../nvme0n1p2", at(PARTITIONS).join("0b0e-2")).expect("a link");
        let disk = Disk::of_root(root.path()).expect("a disk");
        assert_eq!(disk.device, root.path().join("dev/nvme0n1"));
        assert!(!Disk::is_elsewhere(root.path()));
    }

    #[test]
    fn what_is_not_an_nvme_partition_is_left_alone() {
        for (mounts, disk, partition, complaint) in [
            (OVERLAY, "nvme0n1", true, "lies on no disk"),
            ("", "nvme0n1", true, "mounted at /"),
            (ROOT, "mmcblk0", true, "NVMe disks only"),
            (ROOT, "dm-0", false, "not a partition"),
        ] {
            let root = machine(mounts, disk, partition);
            let error = Disk::of_root(root.path()).expect_err(complaint);
            assert!(format!("{error:#}").contains(complaint), "{error:#}");
        }
    }

    #[test]
    fn only_a_root_that_is_certainly_on_no_nvme_disk_is_elsewhere() {
        for (mounts, disk, is_elsewhere) in [
            (ROOT, "nvme0n1", false),
            (OVERLAY, "nvme0n1", true),
            (ROOT, "mmcblk0", true),
            ("", "nvme0n1", false),
            ("21 20 259:9 / / rw - ext4 /dev/root rw\n", "nvme0n1", false),
        ] {
            let root = machine(mounts, disk, true);
            let found = Disk::is_elsewhere(root.path());
            assert_eq!(found, is_elsewhere, "{mounts} {disk}");
        }
    }

    #[test]
    fn what_is_mounted_over_the_root_counts() {
        assert_eq!(device_number(&format!("{OVERLAY}{ROOT}")), Some("259:2"));
        assert_eq!(device_number(&format!("{ROOT}{OVERLAY}")), Some("0:21"));
    }

    #[test]
    fn one_sector_becomes_zero_and_nothing_else() {
        // It needs a real file system, because one in memory may refuse O_DIRECT.
        let file = tempfile::NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).expect("a disk");
        fs::write(file.path(), vec![7; 64 << 10]).expect("its content");
        let disk = Disk {
            device: file.path().to_owned(),
            sector: 4096,
        };
        disk.make_unbootable().expect("zeros");
        let content = fs::read(file.path()).expect("its content");
        assert!(content[..4096].iter().all(|byte| *byte == 0));
        assert!(content[4096..].iter().all(|byte| *byte == 7) && content.len() == 64 << 10);
    }

    #[test]
    fn a_card_is_known_by_its_kind() {
        let root = tempfile::tempdir().expect("a directory");
        let make = |name: &str, kind: &str| {
            let device = root.path().join(BLOCKS).join(name).join("device");
            fs::create_dir_all(&device).expect("a device");
            fs::write(device.join("type"), format!("{kind}\n")).expect("its kind");
        };
        make("mmcblk0", "MMC");
        assert!(!has_card(root.path()));
        make("mmcblk1", "SD");
        assert!(has_card(root.path()));
        assert!(!has_flasher_card(root.path()), "somebody else's card");
        let labels = root.path().join(LABELS);
        fs::create_dir_all(&labels).expect("labels");
        symlink("../../mmcblk1p1", labels.join("GILD")).expect("a label");
        fs::write(root.path().join("dev/mmcblk1p1"), "").expect("a device");
        assert!(has_flasher_card(root.path()));
    }
}
