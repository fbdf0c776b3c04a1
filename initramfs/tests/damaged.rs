//! A damaged file system on a card gives an error in finite time, and never a panic.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use gild_card::layout::{CARD_LENGTH, FAT_AT, FAT_LENGTH};
use gild_card::{fat, mkfs};

/// Offsets that follow from the sizes in the boot sector: the first table and the root directory.
const TABLE: u64 = FAT_AT + 32 * 512;
const ROOT: u64 = FAT_AT + 4112 * 512;

fn card() -> File {
    let mut disk = tempfile::tempfile().expect("a file");
    disk.set_len(CARD_LENGTH).expect("a sparse file");
    let many = (0..300).map(|n| (format!("folder/file number {n}.txt"), vec![7; 100]));
    let files: BTreeMap<_, _> = many.collect();
    mkfs::make(&mut disk, 1, &files).expect("a file system");
    disk
}

#[test]
fn a_directory_that_goes_round_in_circles_is_an_error() {
    let mut disk = card();
    // Cluster 3 is the folder's first; after it comes itself.
    disk.write_all_at(&3u32.to_le_bytes(), TABLE + 3 * 4)
        .expect("written");
    let error = fat::read(&mut disk, FAT_AT, FAT_LENGTH).expect_err("a circle");
    assert!(
        error.to_string().contains("a directory is too long"),
        "{error}"
    );
}

#[test]
fn sizes_that_contradict_each_other_are_an_error() {
    // Sectors in all, sectors of a table, sectors of a cluster.
    for (at, bytes) in [
        (32, [0xff, 0xff, 0xff, 0x7f].as_slice()),
        (36, &[1, 0, 0, 0]),
        (13, &[128]),
    ] {
        let mut disk = card();
        disk.write_all_at(bytes, FAT_AT + at).expect("written");
        let error = fat::read(&mut disk, FAT_AT, FAT_LENGTH).expect_err("a contradiction");
        assert!(error.to_string().contains("contradict"), "{at}: {error}");
    }
}

#[test]
fn every_damaged_byte_of_the_first_sectors_is_survived() {
    let mut disk = card();
    let ranges = [(FAT_AT, 96), (TABLE, 64), (ROOT, 128)];
    for at in ranges
        .into_iter()
        .flat_map(|(start, length)| start..start + length)
    {
        let mut old = [0];
        disk.read_exact_at(&mut old, at).expect("read");
        for byte in [0, 0xff, old[0] ^ 0x10] {
            disk.write_all_at(&[byte], at).expect("written");
            // Read or refused: either is right.
            let _ = fat::read(&mut disk, FAT_AT, FAT_LENGTH);
        }
        disk.write_all_at(&old, at).expect("written");
    }
    let whole = fat::read(&mut disk, FAT_AT, FAT_LENGTH).expect("as it was");
    assert_eq!(whole.files.len(), 300);
}
