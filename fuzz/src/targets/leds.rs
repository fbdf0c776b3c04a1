//! The LEDs of a device tree. A tree that has them is not changed.

use gild_boards::device_tree::leds::with_leds;

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    if let Ok(once) = with_leds(input) {
        assert_eq!(with_leds(&once), Ok(once));
    }
}
