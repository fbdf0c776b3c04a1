//! The Raspberry Pi 5's device tree, as the kernel of target/kernel has it and as the card has it.

use crate::desk::{Desk, FAT};

#[test]
fn the_pi_s_device_trees_fit_old_firmware_and_have_leds_and_the_boot_configuration() {
    let desk = Desk::least();
    for (name, stepping) in [
        ("bcm2712-rpi-5-b.dtb", "brcm,bcm2712c0-pinctrl"),
        ("bcm2712d0-rpi-5-b.dtb", "brcm,bcm2712d0-pinctrl"),
    ] {
        desk.put("edited.dtb", desk.read(name));
        let get = |node: &str, property: &str| {
            desk.bench
                .tool("fdtget", &["-t", "x", "edited.dtb", node, property])
                .succeeds()
                .stdout
                .trim()
                .to_owned()
        };
        let text = |node: &str, property: &str| {
            desk.bench
                .tool("fdtget", &["edited.dtb", node, property])
                .succeeds()
                .stdout
                .trim()
                .to_owned()
        };
        assert_eq!(
            text("/soc@107c000000/pinctrl@7d504100", "compatible"),
            stepping,
            "{name}"
        );
        // What the reference says for a root whose sizes have one cell.
        for (node, property, cells) in [
            ("/", "#size-cells", "1"),
            ("/reserved-memory", "#size-cells", "1"),
            ("/memory@0", "reg", "0 0 28000000"),
            ("/hvs@107c580000", "reg", "10 7c580000 1a000"),
            ("/reserved-memory/atf@0", "reg", "0 0 80000"),
            ("/reserved-memory/linux,cma", "size", "4000000"),
            ("/reserved-memory/linux,cma", "alloc-ranges", "0 0 40000000"),
            ("/reserved-memory/nvram@0", "reg", "0 0 0"),
            ("/soc@107c000000", "#size-cells", "1"),
            ("/soc@107c000000", "ranges", "0 10 0 80000000"),
            ("/axi", "#size-cells", "2"),
        ] {
            assert_eq!(get(node, property), cells, "{name}: {node} {property}");
        }
        assert_eq!(text("/aliases", "blconfig"), "/reserved-memory/nvram@0");
        assert_eq!(
            text("/reserved-memory/nvram@0", "compatible"),
            "raspberrypi,bootloader-config nvmem-rmem"
        );
        let gpio = get("/soc@107c000000/gpio@7d517c00", "phandle");
        assert_eq!(get("/gild-leds/led-act", "gpios"), format!("{gpio} 9 1"));
        assert_eq!(text("/gild-leds/led-act", "label"), "ACT");
        assert_eq!(text("/gild-leds-rp1/led-pwr", "label"), "PWR");
        // No new complaint of dtc but that atf@0 and nvram@0 share an address, as in Raspberry Pi's own tree; and nothing
        // else is changed.
        let original = format!(
            "kernel/dtb/broadcom/{}",
            name.replace("bcm2712d0", "bcm2712-d")
        );
        let complaints = |dtb: &str| {
            let said = desk
                .bench
                .tool("dtc", &["-I", "dtb", "-O", "dts", "-o", "out.dts", dtb])
                .succeeds()
                .stderr;
            said.lines()
                .filter(|line| !line.contains("unique_unit_address"))
                .count()
        };
        assert_eq!(complaints("edited.dtb"), complaints(&original), "{name}");
        let lines = |dtb: &str| {
            let dts = desk
                .bench
                .tool("dtc", &["-q", "-s", "-I", "dtb", "-O", "dts", dtb])
                .succeeds()
                .stdout;
            dts.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let (before, after) = (lines(&original), lines("edited.dtb"));
        let lost = before.iter().filter(|line| !after.contains(line)).count();
        assert!(lost <= 6, "{name}: {lost} lines are gone");
    }
}

#[test]
fn the_overlay_for_newer_boards_turns_the_card_s_tree_into_the_one_of_their_stepping() {
    let desk = Desk::least();
    let base = "bcm2712-rpi-5-b.dtb";
    desk.put("base.dtb", desk.read(base));
    desk.put("d0.dtb", desk.read("bcm2712d0-rpi-5-b.dtb"));
    desk.put("d0.dtbo", desk.read("overlays/bcm2712d0.dtbo"));
    let arguments = ["-i", "base.dtb", "-o", "applied.dtb", "d0.dtbo"];
    desk.bench.tool("fdtoverlay", &arguments).succeeds();
    let source = |dtb: &str| {
        let arguments = ["-q", "-s", "-I", "dtb", "-O", "dts", dtb];
        desk.bench.tool("dtc", &arguments).succeeds().stdout
    };
    assert_eq!(source("applied.dtb"), source("d0.dtb"));
    // Nothing looks for mainline's name of that tree.
    let listing = desk.bench.tool("mdir", &["-b", "-i", FAT, "::"]);
    let listing = listing.succeeds().stdout;
    assert!(listing.contains(base), "{listing}");
    assert!(!listing.contains("bcm2712-d-"), "{listing}");
}
