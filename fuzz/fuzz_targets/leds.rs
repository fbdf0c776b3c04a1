//! The LEDs of a device tree. A tree that has them is not changed.
#![no_main]

use gild_boards::device_tree::leds::with_leds;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(once) = with_leds(input) {
        assert_eq!(with_leds(&once), Ok(once));
    }
});
