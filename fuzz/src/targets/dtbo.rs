//! Overlays: a base tree, another tree, and an overlay. An overlay between two trees turns the one into the other.

use crate::parts;
use gild_boards::dtbo;

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    let [base, other, overlay] = parts(input);
    let _ = dtbo::check_order(base, other, "brcm,bcm2712d0-pinctrl");
    let _ = dtbo::check_gives(base, overlay, other);
    let _ = dtbo::check_devices(base, overlay, other);
    if let Ok(made) = dtbo::between(base, other) {
        assert_eq!(dtbo::check_gives(base, &made, other), Ok(()));
    }
}
