//! The root file system of an image, in pieces: its tables, the list of its files, their bytes, and their
//! comparison.

use crate::disk;
use gild_inspect::readers::{Blocks, Range, Root, Use, between, root};

const LENGTH: u64 = 512 << 10;

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    let partition = Range::new(disk::file(input, LENGTH), 0, LENGTH);
    if let Ok(blocks) = Blocks::read(&partition) {
        let free: u64 = blocks
            .runs(Use::Free)
            .iter()
            .map(|(_, length)| length)
            .sum();
        assert!(free <= LENGTH);
        if let Ok(places) = blocks.data_in_free() {
            assert!(places.iter().all(|place| *place < LENGTH));
        }
    }
    let Ok(files) = Root::open(partition.clone()) else {
        return;
    };
    let _ = (files.label(), files.uuid());
    for path in files.nodes.keys() {
        let _ = files.bytes(path);
    }
    let tree = root(partition).expect("it was read before");
    if let Ok(differences) = between("root", &*tree, &*tree, &mut |_| {}) {
        assert_eq!(differences, [], "a file system differs from itself");
    }
}
