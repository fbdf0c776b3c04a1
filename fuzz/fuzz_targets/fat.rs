//! The FAT of an image, in pieces: the list of its files, their bytes, and what lies in free clusters.
#![no_main]

use gild_fuzz::disk;
use gild_inspect::readers::{Fat, Range};
use libfuzzer_sys::fuzz_target;

/// Room for a FAT32 that is as small as the format allows.
const LENGTH: u64 = 34 << 20;

fuzz_target!(|input: &[u8]| {
    let Ok(fat) = Fat::open(Range::new(disk::file(input, LENGTH), 0, LENGTH)) else {
        return;
    };
    let _ = (fat.label(), fat.uuid());
    for path in fat.files.keys() {
        if let Ok(Some(bytes)) = fat.bytes(path) {
            assert!(bytes.len() as u64 <= fat.files[path].min(1 << 20));
        }
    }
    if let Ok(places) = fat.data_in_free_clusters() {
        assert!(places.iter().all(|place| *place < LENGTH));
    }
});
