//! The FAT of an image, in pieces: the list of its files, their bytes, and what lies in free clusters.

use crate::disk;
use gild_inspect::readers::{Fat, Range, between, boot};

/// Room for a FAT32 that is as small as the format allows.
const LENGTH: u64 = 34 << 20;

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    let partition = Range::new(disk::file(input, LENGTH), 0, LENGTH);
    let Ok(fat) = Fat::open(partition.clone()) else {
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
    let tree = boot(partition).expect("it was read before");
    if let Ok(differences) = between("boot", &*tree, &*tree, &mut |_| {}) {
        assert_eq!(differences, [], "a file system differs from itself");
    }
}
