//! The boards' data against the kernel that `make setup` fetched: its device trees and the names and load order of its
//! modules are real. Nothing is loaded.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gild_boards::Board;
use gild_initramfs::ModuleIndex;

fn kernel() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/kernel")
}

/// The load order on the kernel in target/kernel, by module name.
fn load_order(board: &Board) -> Vec<String> {
    let table = |name: &str| {
        let path = kernel().join(format!("modules/modules.{name}"));
        fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; run `make setup`", path.display()))
    };
    let index = ModuleIndex::parse(&table("dep"), &table("builtin"), &table("softdep"))
        .expect("depmod's tables");
    let order = index.load_order(board.modules.iter().map(|module| module.name.as_str()));
    let name = |path: &str| {
        let file = path.rsplit('/').next().unwrap_or_default();
        file.split('.').next().unwrap_or_default().replace('-', "_")
    };
    order
        .unwrap_or_else(|unknown| panic!("{unknown:?}"))
        .into_iter()
        .map(name)
        .collect()
}

/// Each provider, in the order of loading, before each that cannot work without it.
fn assert_before(order: &[String], pairs: &[(&str, &str)]) {
    let position = |name: &str| {
        order
            .iter()
            .position(|module| module == name)
            .unwrap_or_else(|| panic!("{name} is not loaded: {order:?}"))
    };
    for (earlier, later) in pairs {
        assert!(
            position(earlier) < position(later),
            "{earlier} comes after {later}: {order:?}"
        );
    }
}

/// What each board's devices need, as pairs of modules that must load in this order.
fn pairs(board: &str) -> &'static [(&'static str, &'static str)] {
    match board {
        "rpi5" => &[
            ("nvme_core", "nvme"),
            ("irq_bcm2712_mip", "nvme"),
            ("irq_bcm2712_mip", "rp1_pci"),
            ("phylink", "macb"),
            ("broadcom", "macb"),
            ("clk_rp1", "macb"),
            ("pinctrl_brcmstb", "pinctrl_brcmstb_bcm2712"),
            ("gpio_brcmstb", "leds_gpio"),
            ("sdhci_pltfm", "sdhci_brcmstb"),
            ("fat", "vfat"),
        ],
        "rock5b" => &[
            ("nvme_core", "nvme"),
            ("phy_rockchip_snps_pcie3", "nvme"),
            ("phy_rockchip_naneng_combphy", "r8169"),
            ("realtek", "r8169"),
            ("gpio_rockchip", "leds_gpio"),
            ("rk808_regulator", "dw_mmc_rockchip"),
            ("dw_mmc_pltfm", "dw_mmc_rockchip"),
            ("mtd", "spi_nor"),
            ("fat", "vfat"),
        ],
        _ => panic!("{board} needs its row here"),
    }
}

#[test]
fn each_board_loads_what_its_devices_need() {
    for board in gild_boards::all() {
        assert_before(&load_order(board), pairs(&board.name));
    }
}

#[test]
fn the_boards_are_what_the_kernel_s_device_trees_say() {
    let property = |dtb: &Path, name: &str| {
        let output = Command::new("fdtget")
            .args(["-t", "s"])
            .arg(dtb)
            .args(["/", name])
            .output();
        let output = output.expect("fdtget of device-tree-compiler; run `make setup`");
        let words = String::from_utf8(output.stdout).expect("text");
        assert!(
            output.status.success(),
            "{}: no {name}; run `make setup`",
            dtb.display()
        );
        words.trim().to_owned()
    };
    for board in gild_boards::all() {
        for dtb in &board.dtb {
            let dtb = kernel().join("dtb").join(dtb);
            assert_eq!(
                property(&dtb, "compatible"),
                board.compatible.join(" "),
                "{}",
                dtb.display()
            );
            assert_eq!(property(&dtb, "model"), board.model, "{}", dtb.display());
        }
    }
}
