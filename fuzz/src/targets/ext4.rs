//! The root file system of an image, in pieces: its tables, the list of its files, and their bytes.

use crate::disk;
use gild_inspect::readers::{Blocks, Range, Root, Use};

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
    let Ok(root) = Root::open(partition) else {
        return;
    };
    let _ = (root.label(), root.uuid());
    for path in root.nodes.keys() {
        let _ = root.bytes(path);
    }
}
