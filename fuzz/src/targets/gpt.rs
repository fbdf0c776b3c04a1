//! The partition table of an image, in pieces, as it is and with right checksums. Every partition lies on the disk.

use crate::{disk, sparse};
use gild_inspect::readers::{Range, gpt};

const LENGTH: usize = 256 << 10;
const HEADER: usize = 92;

fn number(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..][..4].try_into().expect("four bytes")) as usize
}

fn repair(bytes: &mut [u8], at: usize) {
    let (place, count) = (number(bytes, at + 72), number(bytes, at + 80));
    let length = count.saturating_mul(number(bytes, at + 84));
    let start = place.saturating_mul(512);
    if let Some(entries) = bytes.get(start..start.saturating_add(length)) {
        let crc = crc32fast::hash(entries);
        bytes[at + 88..][..4].copy_from_slice(&crc.to_le_bytes());
    }
    bytes[at + 16..][..4].fill(0);
    let crc = crc32fast::hash(&bytes[at..][..HEADER]);
    bytes[at + 16..][..4].copy_from_slice(&crc.to_le_bytes());
}

fn check(bytes: &[u8]) {
    let length = LENGTH as u64;
    let file = disk::file(&sparse::pack(bytes, 0), length);
    let Ok(Ok(table)) = gpt(&Range::new(file, 0, length)) else {
        return;
    };
    for partition in &table.partitions {
        assert!(partition.length > 0 && partition.start + partition.length <= length);
    }
}

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    let mut bytes = sparse::unpack(input, LENGTH, 0);
    check(&bytes);
    repair(&mut bytes, 512);
    repair(&mut bytes, LENGTH - 512);
    check(&bytes);
}
