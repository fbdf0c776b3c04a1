//! A flasher card that comes back from the field, in pieces: its partition table, its file system, what it does for each board.

use crate::disk::Disk;
use gild_card::{fat, inspect};

/// Room for a FAT32 that is as small as the format allows, and for what comes before it.
const LENGTH: u64 = 36 << 20;

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    if let Ok(volume) = fat::read(&mut Disk::new(input, LENGTH), 0, LENGTH) {
        let bytes: usize = volume.files.values().map(Vec::len).sum();
        assert!(bytes as u64 <= LENGTH);
    }
    let _ = inspect::inspect(&mut Disk::new(input, LENGTH));
}
