//! The sizes of a device tree. A tree that was narrowed is not changed by narrowing it again.

use gild_boards::device_tree::one_size_cell;

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    if let Ok(once) = one_size_cell(input) {
        assert_eq!(one_size_cell(&once), Ok(once));
    }
}
