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

/// `matchbox` then is the same machine on the node as on the desk where the image was set up.
#[test]
fn names_without_a_domain_are_looked_for_in_the_site_s() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("rootfs/usr/lib/systemd/network/20-gild-wired.network");
    let file = std::fs::read_to_string(file).expect("the network's file");
    for source in ["DHCPv4", "DHCPv6", "IPv6AcceptRA"] {
        let section = file.split(&format!("\n[{source}]\n")).nth(1);
        let section = section.and_then(|rest| rest.split("\n[").next());
        let mut lines = section.expect("the section").lines();
        assert!(lines.any(|line| line == "UseDomains=yes"), "{source}");
    }
}
