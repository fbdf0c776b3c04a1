//! What the firmware and the kernel need on the boot partition.

use std::collections::BTreeSet;

use gild_boards::{Board, BootFirmware, Stepping, dtbo};

use crate::boot_script::{self, BOOT_SCR};
use crate::content::INITRD;
use crate::image::{IMAGE_ENV, Image, KERNEL, RELEASE, missing};
use crate::report::Finding;

/// Firmware of the Pi 5 from before June 2025 fails on longer files on an NVMe.
const LIMIT: u64 = 32 << 20;

/// What every node needs, whatever its board.
const MODULES: [&str; 10] = [
    "overlay",
    "br_netfilter",
    "ip_vs",
    "ip_vs_rr",
    "ip_vs_wrr",
    "ip_vs_sh",
    "nf_conntrack",
    "vxlan",
    "iscsi_tcp",
    "nvme",
];

/// What finds the root file system.
const EARLY: [&str; 2] = ["nvme", "ext4"];

/// What else a board's image needs. A vendor's kernel may have any of it built in.
struct Drivers {
    board: &'static str,
    /// Its own wired network: one of each. A vendor's kernel may call its driver by another name.
    network: &'static [&'static [&'static str]],
    /// What supplies the way to its root with power, clocks and interrupts, and feeds the watchdog. A vendor's kernel may not
    /// have all of it.
    early: &'static [&'static str],
}

const DRIVERS: [Drivers; 2] = [
    Drivers {
        board: "rpi5",
        // The controller is in RP1, behind PCIe. It has its clocks there, and the pin that resets the PHY.
        network: &[
            &["macb"],
            &["broadcom"],
            &["rp1_pci", "rp1"],
            &["clk_rp1"],
            &["pinctrl_rp1"],
        ],
        early: &[
            "bcm2835_wdt",
            "fixed",
            "gpio_brcmstb",
            "gpio_regulator",
            "irq_bcm2712_mip",
            "pinctrl_brcmstb_bcm2712",
            "reset_raspberrypi",
            "sdhci_brcmstb",
        ],
    },
    Drivers {
        board: "rock5b",
        network: &[&["r8169"]],
        early: &[
            "dw_mmc_rockchip",
            "dw_wdt",
            "fan53555",
            "gpio_rockchip",
            "i2c_rk3x",
            "phy_rockchip_naneng_combphy",
            "phy_rockchip_snps_pcie3",
            "rk808_regulator",
            "sdhci_of_dwcmshc",
            "spi_rockchip",
        ],
    },
];

/// The drivers of a board. An inspection without drivers to look for has checked nothing, and must not pass.
fn drivers(board: &Board) -> Result<&'static Drivers, Finding> {
    let found = DRIVERS.iter().find(|drivers| drivers.board == board.name);
    found.ok_or_else(|| {
        let what = "is a board whose drivers this inspection does not know";
        Finding::new(&*board.name, what)
    })
}

/// The firmware that starts the image's board.
fn firmware(image: &Image) -> Option<BootFirmware> {
    image.board().map(|board| board.boot_firmware)
}

fn is_named(path: &str, name: &str) -> bool {
    path.rsplit('/').next() == Some(name)
}

pub fn files(image: &Image) -> Vec<Finding> {
    let own: &[&str] = match firmware(image) {
        Some(BootFirmware::RpiEeprom) => &["config.txt", "cmdline.txt"],
        Some(BootFirmware::Rk3588Spi) => &[BOOT_SCR],
        None => &[],
    };
    let mut findings = Vec::new();
    let mut wanted: BTreeSet<(String, &str)> = [KERNEL, INITRD, IMAGE_ENV]
        .iter()
        .chain(own)
        .map(|&path| (path.to_owned(), ""))
        .collect();
    if let Some(text) = image.boot_text("config.txt") {
        wanted.extend(named_by_config(&text).map(|path| (path, ", which config.txt names")));
    }
    if let Some(Ok(commands)) = image.boot_script() {
        let named = boot_script::files(&commands).into_iter();
        wanted.extend(named.map(|path| (path, ", which boot.scr names")));
    }
    for (path, why) in wanted {
        let folder = format!("{path}/");
        let is_there = image.boot.files.contains_key(&path)
            || image
                .boot
                .files
                .keys()
                .any(|file| file.starts_with(&folder));
        if !is_there {
            findings.push(Finding::new(
                format!("boot:{path}"),
                format!("is missing{why}"),
            ));
        }
    }
    let Some(board) = image.board() else {
        return findings;
    };
    let (tree, stepping) = (board.base_dtb(), board.stepping.as_ref());
    // U-Boot's script names the tree's place; the Pi's firmware looks in the root folder only.
    let is_there = if stepping.is_some() {
        image.boot.files.contains_key(tree)
    } else {
        image.boot.files.keys().any(|file| is_named(file, tree))
    };
    if !is_there {
        findings.push(missing(format!("boot:{tree}")));
    }
    if let Some(Stepping { overlay, .. }) = stepping
        && !image.boot.files.contains_key(overlay)
    {
        let what = "is missing: boards with the newer stepping of the processor do not start";
        findings.push(Finding::new(format!("boot:{overlay}"), what));
    }
    findings
}

/// The overlay that the firmware applies on boards with the newer stepping, and the trees whose difference it is.
pub fn device_trees(image: &Image) -> Vec<Finding> {
    let Some(board) = image.board() else {
        return Vec::new();
    };
    let Some(stepping) = &board.stepping else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for path in [board.base_dtb(), &stepping.overlay, &stepping.vendor_dtb] {
        match image.boot.bytes(path) {
            Ok(Some(bytes)) => files.push(bytes),
            Err(error) => {
                let what = format!("cannot be read: {error}");
                return vec![Finding::new(format!("boot:{path}"), what)];
            }
            Ok(None) if path == stepping.vendor_dtb => {
                let what = "is missing, so gild cannot know what the overlay must give";
                return vec![Finding::new(format!("boot:{path}"), what)];
            }
            // The rule about files reports it.
            Ok(None) => return Vec::new(),
        }
    }
    let [base, overlay, newer] = &files[..] else {
        return Vec::new();
    };
    let checked = dtbo::check_order(base, newer, &stepping.compatible)
        .and_then(|()| dtbo::check_devices(base, overlay, newer))
        .and_then(|()| {
            // A vendor's changes more or less than its trees differ in.
            if is_kernels_own(image, &stepping.overlay, overlay) {
                return Ok(());
            }
            dtbo::check_gives(base, overlay, newer)
        });
    match checked {
        Ok(()) => Vec::new(),
        Err(error) => vec![Finding::new(
            format!("boot:{}", stepping.overlay),
            error.to_string(),
        )],
    }
}

/// Whether this overlay came with the kernel: the root file system has the same bytes beside the kernel's device trees.
fn is_kernels_own(image: &Image, name: &str, overlay: &[u8]) -> bool {
    let version = image.kernel().and_then(|kernel| kernel.version.as_deref());
    version.is_some_and(|version| {
        dtbo::places_of_own(version, name)
            .any(|place| image.root.bytes(&place).ok().flatten().as_deref() == Some(overlay))
    })
}

/// Whether the firmware still looks whether the device tree is for its board.
pub fn os_check(image: &Image) -> Vec<Finding> {
    let (mut files, mut findings) = (vec!["config.txt".to_owned()], Vec::new());
    let mut next = 0;
    while let Some(file) = files.get(next).cloned() {
        next += 1;
        for line in image.boot_text(&file).unwrap_or_default().lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let lower = line.to_ascii_lowercase();
            let (key, value) = lower.split_once('=').unwrap_or((&lower, ""));
            if key.trim() == "os_check" && value.trim() != "1" {
                let what = format!("the line `{line}`");
                findings.push(Finding::new(format!("boot:{file}"), what));
            }
            // The firmware reads another file instead of such a line.
            let mut words = lower.split_whitespace();
            if let (Some("include"), Some(other)) = (words.next(), words.next())
                && !files.iter().any(|file| file == other)
            {
                files.push(other.to_owned());
            }
        }
    }
    findings
}

/// The files that the Raspberry Pi's firmware is to load.
fn named_by_config(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter_map(|line| {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(rest) = line.strip_prefix("initramfs ") {
            return rest.split_whitespace().next().map(str::to_lowercase);
        }
        let (key, value) = line.split_once('=')?;
        match key.trim() {
            "kernel" | "device_tree" | "ramfsfile" => Some(value.trim().to_lowercase()),
            "dtoverlay" => {
                let name = value.split([',', ':']).next()?.trim().to_lowercase();
                (!name.is_empty()).then(|| format!("overlays/{name}.dtbo"))
            }
            _ => None,
        }
    })
}

pub fn file_sizes(image: &Image) -> Vec<Finding> {
    let sizes = [KERNEL, INITRD].map(|path| (path, image.boot.files.get(path)));
    sizes
        .into_iter()
        .filter(|_| firmware(image) == Some(BootFirmware::RpiEeprom))
        .filter_map(|(path, size)| {
            let size = size.copied().filter(|&size| size >= LIMIT)?;
            let what = format!("{size} bytes, 32 MiB or more");
            Some(Finding::new(format!("boot:{path}"), what))
        })
        .collect()
}

pub fn page_size(image: &Image) -> Vec<Finding> {
    let what = match image.kernel() {
        None => "is not an arm64 kernel".to_owned(),
        Some(kernel) => match kernel.page_size {
            Some(4096) => return Vec::new(),
            Some(bytes) => format!("pages of {bytes} bytes"),
            None => "does not say how large its pages are".to_owned(),
        },
    };
    vec![Finding::new(format!("boot:{KERNEL}"), what)]
}

pub fn arguments(image: &Image) -> Vec<Finding> {
    let all = image.kernel_arguments();
    let mut findings = Vec::new();
    if all.is_empty() {
        findings.push(Finding::new("boot partition", "no kernel arguments"));
    }
    for (file, arguments) in &all {
        let words: Vec<&str> = arguments.split_whitespace().collect();
        for wanted in ["systemd.firstboot=off", "cgroup_enable=memory"] {
            if !words.contains(&wanted) {
                let what = format!("the kernel argument {wanted} is missing");
                findings.push(Finding::new(format!("boot:{file}"), what));
            }
        }
        if words.contains(&"cgroup_disable=memory") {
            let what = "cgroup_disable=memory";
            findings.push(Finding::new(format!("boot:{file}"), what));
        }
    }
    findings
}

/// A module's name as a file has it: `-` and `_` are the same, and it may be compressed.
fn module_name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let name = file.split_once(".ko").map(|(name, _)| name)?;
    Some(name.replace('-', "_"))
}

pub fn modules(image: &Image) -> Vec<Finding> {
    let Some(version) = image.kernel().and_then(|kernel| kernel.version.as_deref()) else {
        return vec![Finding::new(
            format!("boot:{KERNEL}"),
            "does not say its version",
        )];
    };
    let folder = format!("usr/lib/modules/{version}");
    let Some(index) = image.root_text(&format!("{folder}/modules.dep")) else {
        return vec![Finding::new(
            folder,
            "no modules.dep for the kernel of the boot partition",
        )];
    };
    let listed = index.lines().filter_map(|line| line.split(':').next());
    let present = listed.filter(|path| image.root.kind(&format!("{folder}/{path}")).is_some());
    let builtin = image
        .root_text(&format!("{folder}/modules.builtin"))
        .unwrap_or_default();
    let known: BTreeSet<String> = present
        .chain(builtin.lines())
        .filter_map(module_name)
        .collect();
    let network = match image.board().map(drivers).transpose() {
        Ok(drivers) => drivers.map_or(&[][..], |drivers| drivers.network),
        Err(unknown) => return vec![unknown],
    };
    MODULES
        .iter()
        .map(std::slice::from_ref)
        .chain(network.iter().copied())
        .filter(|names| !names.iter().any(|&name| known.contains(name)))
        .map(|names| Finding::new(&folder, format!("no module {}", names.join(" or "))))
        .collect()
}

pub fn initramfs(image: &Image) -> Vec<Finding> {
    let Some(version) = image.kernel().and_then(|kernel| kernel.version.as_deref()) else {
        return Vec::new();
    };
    let place = format!("boot:{INITRD}");
    let files = &image.content.initramfs;
    let folder = format!("lib/modules/{version}/");
    if !files.iter().any(|path| path.contains(&folder)) {
        let what = format!("has no modules of the kernel {version}");
        return vec![Finding::new(place, what)];
    }
    let builtin = format!("usr/lib/modules/{version}/modules.builtin");
    let builtin = image.root_text(&builtin).unwrap_or_default();
    let ours = files.iter().filter(|path| path.contains(&folder));
    let known: BTreeSet<String> = ours
        .map(String::as_str)
        .chain(builtin.lines())
        .filter_map(module_name)
        .collect();
    let index = format!("usr/lib/modules/{version}/modules.dep");
    let index = image.root_text(&index).unwrap_or_default();
    let paths = index.lines().filter_map(|line| line.split(':').next());
    let modules: BTreeSet<String> = paths.filter_map(module_name).collect();
    let early = match image.board().map(drivers).transpose() {
        Ok(drivers) => drivers.map_or(&[][..], |drivers| drivers.early),
        Err(unknown) => return vec![unknown],
    };
    let early = early.iter().filter(|&&name| modules.contains(name));
    EARLY
        .iter()
        .chain(early)
        .filter(|&&name| !known.contains(name))
        .map(|name| Finding::new(&place, format!("no module {name}")))
        .collect()
}

pub fn image_id(image: &Image) -> Vec<Finding> {
    let (env, release) = (image.image_env(), image.release());
    let place = format!("boot:{IMAGE_ENV}");
    let mut findings = Vec::new();
    for (ours, theirs) in [("image_id", "GILD_IMAGE_ID"), ("board", "GILD_BOARD")] {
        match (env.get(ours), release.get(theirs)) {
            (None, _) => findings.push(Finding::new(&place, format!("no {ours}"))),
            (_, None) => findings.push(Finding::new(RELEASE, format!("no {theirs}"))),
            (Some(one), Some(other)) if one != other => {
                let what = format!("{ours} is {one}, in {RELEASE} it is {other}");
                findings.push(Finding::new(&place, what));
            }
            _ => {}
        }
    }
    if env.contains_key("board") && image.board().is_none() {
        findings.push(Finding::new(&place, "an unknown board"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_board_has_drivers_to_look_for_and_no_other_passes() {
        for board in gild_boards::all() {
            let drivers = drivers(board).expect("rows for the board");
            assert!(!drivers.network.is_empty() && !drivers.early.is_empty());
            let mut other = board.clone();
            other.name.push('x');
            assert!(super::drivers(&other).is_err());
        }
    }
}
