//! libblkid's answers about real images, made by the stock tools (sfdisk, mkfs.vfat, mke2fs) in plain files.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::Path,
    process::{Command, Stdio},
};

use gild_probe::{
    Filesystem, PartitionInfo, ProbeError, filesystem, filesystem_at, partition_table,
};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
const DISK_UUID: &str = "a9d0b9d4-0c6f-4c43-8f4e-0123456789ab";
const BOOT_UUID: &str = "11111111-2222-4333-8444-555555555555";
const ROOT_UUID: &str = "66666666-7777-4888-9999-aaaaaaaaaaaa";
const ROOT_FS_UUID: &str = "0f0f0f0f-1111-4222-8333-444444444444";
const BASIC_DATA: &str = "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7";
const LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

/// A scratch folder with one sparse disk image in it.
struct Image {
    directory: TempDir,
}

impl Image {
    fn new(size: u64) -> Self {
        let directory = tempfile::tempdir().expect("a scratch folder");
        let image = Self { directory };
        File::create(image.path())
            .and_then(|file| file.set_len(size))
            .expect("an empty image");
        image
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("disk.img")
    }

    fn open(&self) -> File {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path())
            .expect("the image opens")
    }

    /// Partitions the image: a 16 MiB FAT partition at 16 MiB and the rest for ext4.
    fn with_gpt(self) -> Self {
        let script = format!(
            "label: gpt\nlabel-id: {DISK_UUID}\n\
             start=32768, size=32768, type={BASIC_DATA}, uuid={BOOT_UUID}, name=\"boot\"\n\
             start=65536, size=32768, type={LINUX}, uuid={ROOT_UUID}, name=\"Größe\"\n"
        );
        run(
            "sfdisk",
            &["--quiet".as_ref(), self.path().as_os_str()],
            script.as_bytes(),
        );
        self
    }

    fn with_vfat_at(self, start: u64, length: u64, label: &str) -> Self {
        let part = Image::new(length);
        run(
            "mkfs.vfat",
            &[
                "-n".as_ref(),
                label.as_ref(),
                "-i".as_ref(),
                "C0FFEE01".as_ref(),
                part.path().as_os_str(),
            ],
            b"",
        );
        self.copy_in(&part, start);
        self
    }

    fn with_ext4_at(self, start: u64, length: u64, label: &str) -> Self {
        let part = Image::new(length);
        let arguments =
            ["-q", "-t", "ext4", "-L", label, "-U", ROOT_FS_UUID].map(std::ffi::OsStr::new);
        run(
            "mke2fs",
            &[&arguments[..], &[part.path().as_os_str()]].concat(),
            b"",
        );
        self.copy_in(&part, start);
        self
    }

    fn copy_in(&self, part: &Image, start: u64) {
        let mut file = self.open();
        file.seek(SeekFrom::Start(start)).expect("seek");
        std::io::copy(&mut part.open(), &mut file).expect("the file system is copied in");
    }
}

fn run(program: &str, arguments: &[&std::ffi::OsStr], input: &[u8]) {
    // Debian keeps these tools out of an ordinary user's path.
    let path = format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    );
    let mut child = Command::new(program)
        .env("PATH", path)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {program}: {error}; next: make setup"));
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(input)
        .expect("the tool reads its input");
    let status = child.wait().expect("the tool ends");
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

fn vfat(label: &str) -> Filesystem {
    Filesystem {
        kind: "vfat".into(),
        label: label.into(),
        uuid: "C0FF-EE01".into(),
    }
}

fn ext4(label: &str) -> Filesystem {
    Filesystem {
        kind: "ext4".into(),
        label: label.into(),
        uuid: ROOT_FS_UUID.into(),
    }
}

#[test]
fn a_gpt_is_reported_with_its_partitions() {
    let image = Image::new(64 * MIB).with_gpt();
    let table = partition_table(&image.path())
        .expect("readable")
        .expect("a table");
    assert_eq!((table.kind.as_str(), table.id.as_str()), ("gpt", DISK_UUID));
    assert_eq!(
        table.partitions,
        [
            PartitionInfo {
                number: 1,
                start: 16 * MIB,
                length: 16 * MIB,
                kind: BASIC_DATA.into(),
                uuid: BOOT_UUID.into(),
                name: "boot".into(),
            },
            PartitionInfo {
                number: 2,
                start: 32 * MIB,
                length: 16 * MIB,
                kind: LINUX.into(),
                uuid: ROOT_UUID.into(),
                name: "Größe".into(),
            },
        ]
    );
}

#[test]
fn an_mbr_is_reported_with_its_primary_and_logical_partitions() {
    let image = Image::new(64 * MIB);
    let script = "label: dos\nlabel-id: 0xdeadbeef\n\
                  start=2048, size=32768, type=c, bootable\n\
                  start=40960, size=65536, type=5\n\
                  start=43008, size=4096, type=83\n";
    run(
        "sfdisk",
        &["--quiet".as_ref(), image.path().as_os_str()],
        script.as_bytes(),
    );
    let table = partition_table(&image.path())
        .expect("readable")
        .expect("a table");
    assert_eq!(
        (table.kind.as_str(), table.id.as_str()),
        ("dos", "deadbeef")
    );
    let found: Vec<_> = table
        .partitions
        .iter()
        .map(|p| {
            (
                p.number,
                p.start,
                p.length,
                p.kind.as_str(),
                p.uuid.as_str(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (1, MIB, 16 * MIB, "0xc", "deadbeef-01"),
            (2, 20 * MIB, 32 * MIB, "0x5", "deadbeef-02"),
            (5, 21 * MIB, 2 * MIB, "0x83", "deadbeef-05"),
        ]
    );
}

#[test]
fn a_table_without_partitions_is_a_table() {
    let image = Image::new(8 * MIB);
    run(
        "sfdisk",
        &["--quiet".as_ref(), image.path().as_os_str()],
        b"label: gpt\n",
    );
    let table = partition_table(&image.path())
        .expect("readable")
        .expect("a table");
    assert_eq!((table.kind.as_str(), table.partitions.len()), ("gpt", 0));
}

#[test]
fn file_systems_are_found_inside_a_partitioned_image() {
    let image = Image::new(64 * MIB)
        .with_gpt()
        .with_vfat_at(16 * MIB, 16 * MIB, "GILD")
        .with_ext4_at(32 * MIB, 16 * MIB, "root");
    let table = partition_table(&image.path())
        .expect("readable")
        .expect("a table");
    let found: Vec<_> = table
        .partitions
        .iter()
        .map(|part| {
            filesystem_at(&image.path(), part.start, part.length)
                .expect("readable")
                .expect("a file system")
        })
        .collect();
    assert_eq!(found, [vfat("GILD"), ext4("root")]);
    assert_eq!(
        filesystem(&image.path()).expect("readable"),
        None,
        "the disk as a whole holds a table, no file system"
    );
}

#[test]
fn a_file_system_on_the_bare_disk_is_no_partition_table() {
    // A FAT boot sector ends in 55 AA just as an MBR does.
    for (image, expected) in [
        (
            Image::new(16 * MIB).with_vfat_at(0, 16 * MIB, "GILD"),
            vfat("GILD"),
        ),
        (
            Image::new(16 * MIB).with_ext4_at(0, 16 * MIB, "root"),
            ext4("root"),
        ),
    ] {
        assert_eq!(filesystem(&image.path()).expect("readable"), Some(expected));
        assert_eq!(partition_table(&image.path()).expect("readable"), None);
    }
}

#[test]
fn a_file_system_without_a_label_has_an_empty_one() {
    let image = Image::new(16 * MIB).with_ext4_at(0, 16 * MIB, "");
    assert_eq!(filesystem(&image.path()).expect("readable"), Some(ext4("")));
}

#[test]
fn a_label_that_is_not_utf8_reads_as_empty() {
    let image = Image::new(16 * MIB).with_vfat_at(0, 16 * MIB, "GILD");
    // The label is in the boot sector and in the root directory, which wins.
    let mut bytes = Vec::new();
    image.open().read_to_end(&mut bytes).expect("read");
    let places: Vec<_> = bytes
        .windows(11)
        .enumerate()
        .filter(|(_, w)| *w == b"GILD       ")
        .map(|(at, _)| at as u64)
        .collect();
    assert_eq!(places.len(), 2);
    for place in places {
        image
            .open()
            .write_all_at(b"\xff\xfe", place)
            .expect("written");
    }
    assert_eq!(filesystem(&image.path()).expect("readable"), Some(vfat("")));
}

#[test]
fn empty_zeroed_and_random_disks_hold_nothing() {
    for size in [0, 1, 511, 512, 4096, MIB, 32 * MIB] {
        let image = Image::new(size);
        assert_eq!(
            partition_table(&image.path()).expect("readable"),
            None,
            "{size} zero bytes"
        );
        assert_eq!(
            filesystem(&image.path()).expect("readable"),
            None,
            "{size} zero bytes"
        );
    }
    let image = Image::new(4 * MIB);
    // Fixed noise (xorshift), so that a chance signature cannot make the test come and go.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(1 << 19)
    .flatten()
    .collect();
    image.open().write_all(&noise).expect("written");
    assert_eq!(partition_table(&image.path()).expect("readable"), None);
    assert_eq!(filesystem(&image.path()).expect("readable"), None);
}

#[test]
fn a_cleared_first_mib_hides_the_table_although_the_backup_gpt_is_there() {
    let image = Image::new(64 * MIB).with_gpt();
    let first = vec![0; usize::try_from(MIB).expect("fits")];
    image.open().write_all_at(&first, 0).expect("written");
    assert_eq!(partition_table(&image.path()).expect("readable"), None);
}

#[test]
fn contradicting_superblocks_are_refused() {
    // ext4 keeps its superblock at 1024 and leaves the first sectors alone: a whole FAT boot sector fits there.
    let image = Image::new(16 * MIB).with_ext4_at(0, 16 * MIB, "root");
    let fat = Image::new(16 * MIB).with_vfat_at(0, 16 * MIB, "GILD");
    let mut sector = [0; 512];
    fat.open().read_exact(&mut sector).expect("read");
    image.open().write_all_at(&sector, 0).expect("written");
    let error = filesystem(&image.path()).expect_err("two superblocks");
    assert!(matches!(error, ProbeError::Ambiguous { .. }), "{error:?}");
    assert!(error.to_string().contains("wipefs"), "{error}");
}

#[test]
fn a_range_outside_the_disk_is_refused() {
    let image = Image::new(MIB);
    for (offset, length) in [(MIB, 1), (0, MIB + 1), (u64::MAX, 2), (u64::MAX, 0)] {
        let error = filesystem_at(&image.path(), offset, length).expect_err("outside");
        assert!(matches!(error, ProbeError::OutOfRange { .. }), "{error:?}");
    }
}

#[test]
fn an_empty_range_holds_nothing_whatever_the_disk_holds() {
    let image = Image::new(16 * MIB).with_vfat_at(0, 16 * MIB, "GILD");
    assert_eq!(filesystem_at(&image.path(), 0, 0).expect("readable"), None);
}

#[test]
fn a_missing_disk_is_an_error_that_names_it() {
    let error = partition_table(Path::new("/nonexistent/disk")).expect_err("not there");
    assert!(matches!(error, ProbeError::Open { .. }), "{error:?}");
    assert!(error.to_string().contains("/nonexistent/disk"), "{error}");
}
