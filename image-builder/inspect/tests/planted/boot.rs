//! The boot partition.

use std::fs;

use gild_boards::dtbo;

use super::Defect::{Before, Changed};
use super::Planted;
use crate::common::{C0, D0, HELD, VERSION, device_tree, initrd, initrd_without};

const OVERLAY: &str = "overlays/bcm2712d0.dtbo";

pub fn defects() -> Vec<Planted> {
    vec![
        (
            "boot-files",
            "no device tree",
            Before(|golden| {
                fs::remove_file(golden.boot("bcm2712-rpi-5-b.dtb")).expect("it was there");
            }),
        ),
        (
            "boot-files",
            "no overlay for newer boards",
            Before(|golden| {
                fs::remove_file(golden.boot(OVERLAY)).expect("it was there");
            }),
        ),
        (
            "boot-files",
            "a file that config.txt names",
            Before(|golden| golden.replace_boot("config.txt", "kernel=", "dtoverlay=vc4\nkernel=")),
        ),
        (
            "boot-file-sizes",
            "a long initramfs",
            Changed(|golden| {
                golden.boot_mib = 40;
                let mut bytes = initrd(&[]);
                bytes.resize(32 << 20, 0);
                golden.put_boot("initrd.img", bytes);
            }),
        ),
        (
            "kernel-page-size",
            "16 KiB",
            Before(|golden| golden.kernel(2)),
        ),
        (
            "kernel-arguments",
            "the wizard",
            Before(|golden| golden.replace_boot("cmdline.txt", "systemd.firstboot=off", "")),
        ),
        (
            "kernel-arguments",
            "no memory controller",
            Before(|golden| {
                golden.replace_boot("cmdline.txt", "rootwait", "cgroup_disable=memory");
            }),
        ),
        (
            "kernel-modules",
            "listed, not there",
            Before(|golden| {
                let path = format!("usr/lib/modules/{VERSION}/kernel/ip-vs-sh.ko.xz");
                fs::remove_file(golden.root(&path)).expect("it was there");
            }),
        ),
        (
            "kernel-modules",
            "Debian's stable kernel, which does not know RP1",
            Before(|golden| golden.without_modules(&["rp1_pci", "clk_rp1", "pinctrl_rp1"])),
        ),
        (
            "initramfs-modules",
            "no nvme",
            Before(|golden| golden.put_boot("initrd.img", initrd_without(&["nvme"], &[]))),
        ),
        (
            "kernel-held",
            "the modules' package",
            Before(|golden| golden.kernel_packages("install ok installed", HELD)),
        ),
        (
            "kernel-held",
            "the newest kernel's package",
            Before(|golden| golden.kernel_packages(HELD, "install ok installed")),
        ),
        (
            "kernel-held",
            "of no package",
            Before(|golden| {
                let list = format!("var/lib/dpkg/info/linux-modules-{VERSION}.list");
                fs::remove_file(golden.root(&list)).expect("it was there");
            }),
        ),
        (
            "image-id",
            "two ids",
            Before(|golden| golden.replace_boot("gild-image.env", "0123", "3210")),
        ),
    ]
}

/// A vendor's own overlay: it changes what the trees do not differ in.
pub fn vendors() -> Vec<u8> {
    device_tree("/plugin/; &pinctrl { compatible = \"brcm,bcm2712d0-pinctrl\"; vendors-own; };")
}

/// The overlay for newer boards, and the trees whose difference it is.
pub fn overlays() -> Vec<Planted> {
    vec![
        (
            "device-tree-overlay",
            "not a device tree",
            Before(|golden| golden.put_boot(OVERLAY, "overlay")),
        ),
        (
            "device-tree-overlay",
            "not an overlay",
            Before(|golden| golden.put_boot(OVERLAY, device_tree("/ { };"))),
        ),
        (
            "device-tree-overlay",
            "a symbol that the tree lacks",
            Before(|golden| {
                let overlay =
                    "/plugin/; &pinctrl { compatible = \"brcm,bcm2712d0-pinctrl\"; }; &spi10 { };";
                golden.put_boot(OVERLAY, device_tree(overlay));
            }),
        ),
        (
            "device-tree-overlay",
            "the pins of the older stepping",
            Before(|golden| {
                let overlay = "/plugin/; &pinctrl { compatible = \"brcm,bcm2712c0-pinctrl\"; };";
                golden.put_boot(OVERLAY, device_tree(overlay));
            }),
        ),
        (
            "device-tree-overlay",
            "the name of the newer pins, and the registers of the older ones",
            Before(|golden| {
                let overlay = "/plugin/; &pinctrl { compatible = \"brcm,bcm2712d0-pinctrl\"; };";
                golden.put_boot(OVERLAY, device_tree(overlay));
            }),
        ),
        (
            "device-tree-overlay",
            "an overlay that came with another kernel",
            Before(|golden| {
                golden.put("usr/lib/linux-image-1.0/overlays/bcm2712d0.dtbo", vendors());
                golden.put_boot(OVERLAY, vendors());
            }),
        ),
        (
            "device-tree-overlay",
            "another overlay than the kernel's own",
            Before(|golden| {
                let own = format!("usr/lib/linux-image-{VERSION}/overlays/bcm2712d0.dtbo");
                golden.put(&own, "another");
                golden.put_boot(OVERLAY, vendors());
            }),
        ),
        (
            "device-tree-overlay",
            "the two trees swapped, with the overlay between them",
            Before(|golden| {
                let (c0, d0) = (device_tree(C0), device_tree(D0));
                golden.put_boot(OVERLAY, dtbo::between(&d0, &c0).expect("an overlay"));
                golden.put_boot("bcm2712-rpi-5-b.dtb", d0);
                golden.put_boot("bcm2712d0-rpi-5-b.dtb", c0);
            }),
        ),
        (
            "device-tree-check",
            "the firmware's check is off",
            Before(|golden| golden.replace_boot("config.txt", "kernel=", "os_check=0\nkernel=")),
        ),
        (
            "device-tree-check",
            "the same in a file that config.txt includes",
            Before(|golden| {
                golden.replace_boot("config.txt", "kernel=", "include own.txt\nkernel=");
                golden.put_boot("own.txt", "include config.txt\n os_check = 0 # for tests\n");
            }),
        ),
        (
            "device-tree-overlay",
            "no tree to measure by",
            Before(|golden| {
                fs::remove_file(golden.boot("bcm2712d0-rpi-5-b.dtb")).expect("it was there");
            }),
        ),
    ]
}
