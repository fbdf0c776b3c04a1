//! A FIT, and the board that a device tree names. All that is found lies inside the file, and the hashes fit.

use gild_boards::fit::{Fit, hash};

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    if let Ok(board) = gild_boards::detect(input) {
        let mut entries = input.split(|byte| *byte == 0);
        assert!(entries.any(|entry| entry == board.identity().as_bytes()));
    }
    let _ = gild_boards::device_tree_compatible(input);
    let Ok(fit) = Fit::parse(input) else {
        return;
    };
    assert!(Fit::begins(input) && fit.length <= input.len());
    for image in &fit.images {
        let data = &input[image.data.clone()];
        let mut is_checked = false;
        for stored in &image.hashes {
            if let Some(value) = hash(&stored.algorithm, data) {
                assert_eq!(value, &input[stored.place.clone()]);
                is_checked = true;
            }
        }
        assert!(is_checked, "damage in {} would not be seen", image.name);
    }
    let _ = fit.boards();
}
