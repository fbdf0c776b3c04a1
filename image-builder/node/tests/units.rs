//! The image's units do what the programs rely on.

use std::path::Path;

#[test]
fn all_is_on_the_disk_before_anything_lasts_that_ends_the_first_boot() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("rootfs/usr/lib/systemd/system/k3s-init.service");
    let unit = std::fs::read_to_string(unit).expect("the unit");
    let step = |text: &str| {
        unit.lines()
            .position(|line| line.starts_with("ExecStart=") && line.contains(text))
            .unwrap_or_else(|| panic!("no step `{text}`"))
    };
    let sync = step("/sync");
    assert!(step("gild-seed check") < sync);
    for lasts in ["enable k3s-agent", "provisioned", "disable k3s-init"] {
        assert!(sync < step(lasts), "{lasts}");
    }
}
