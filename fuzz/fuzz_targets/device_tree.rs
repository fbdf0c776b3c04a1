//! The sizes of a device tree. A tree that was narrowed is not changed by narrowing it again.
#![no_main]

use gild_boards::device_tree::one_size_cell;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(once) = one_size_cell(input) {
        assert_eq!(one_size_cell(&once), Ok(once));
    }
});
