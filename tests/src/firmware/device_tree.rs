//! The device tree that the firmware of a Raspberry Pi 5 hands to the kernel, and what the kernel makes of it.
//!
//! Logs of real boards show what the firmware does. It loads `bcm2712-rpi-5-b.dtb` on every board, refuses a tree of another processor, and
//! applies `overlays/bcm2712d0.dtbo` on a board with the D0 stepping. If an overlay is missing or does not apply, the firmware prints a
//! message and starts the kernel without it. Then the kernel dies when it sets up the pins.
//!
//! Simulated: the virtual machine gets its own tree, so the tree's `compatible` decides whether the kernel would die.
//! Debian's fdtoverlay stands in for the firmware's own code.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::command::{command, run};

const TREE: &str = "bcm2712-rpi-5-b.dtb";
const OVERLAY: &str = "overlays/bcm2712d0.dtbo";
const PROCESSOR: &str = "brcm,bcm2712";

/// The stepping of a Raspberry Pi 5's processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Revision {
    /// The first boards with 4 and 8 GB.
    C0,
    /// All boards with 2 and 16 GB, and newer ones with 4 and 8 GB.
    #[default]
    D0,
}

impl Revision {
    /// The pin controller that the kernel has to find.
    fn pins(self) -> &'static str {
        match self {
            Self::C0 => "brcm,bcm2712c0-pinctrl",
            Self::D0 => "brcm,bcm2712d0-pinctrl",
        }
    }
}

/// Starts the kernel with the files on the boot partition, for a board of this revision, as far as the setup of its pins.
pub fn start(drive: &str, config: &str, revision: Revision, directory: &Path) -> Result<()> {
    let base = directory.join("firmware-base.dtb");
    let overlay = directory.join("firmware-overlay.dtbo");
    let result = directory.join("firmware-result.dtb");
    copy(drive, TREE, &base).with_context(|| format!("the firmware finds no {TREE}"))?;
    let is_checked = !config.lines().any(|line| line.trim() == "os_check=0");
    let processors = get(&base, "/", "compatible")?;
    ensure!(
        !is_checked
            || processors
                .split_whitespace()
                .any(|entry| entry == PROCESSOR),
        "the firmware's os_check refuses a tree that is compatible with {processors}"
    );
    fs::copy(&base, &result)?;
    let mut dropped = String::new();
    if revision == Revision::D0 {
        let applied = copy(drive, OVERLAY, &overlay).and_then(|()| {
            run(command("fdtoverlay")
                .arg("-i")
                .arg(&base)
                .arg("-o")
                .arg(&result)
                .arg(&overlay))
        });
        if let Err(error) = applied {
            fs::copy(&base, &result)?;
            dropped = format!("; the firmware dropped {OVERLAY}: {error:#}");
        }
    }
    let node = get(&result, "/__symbols__", "pinctrl")?;
    let pins = get(&result, &node, "compatible")?;
    if pins != revision.pins() {
        bail!(
            "SError in brcmstb_pinconf_set: Kernel panic on a {revision:?} board whose tree has {pins}{dropped}"
        );
    }
    Ok(())
}

fn copy(drive: &str, name: &str, place: &Path) -> Result<()> {
    run(command("mcopy")
        .args(["-n", "-o", "-i", drive])
        .arg(format!("::{name}"))
        .arg(place))?;
    Ok(())
}

fn get(tree: &Path, node: &str, property: &str) -> Result<String> {
    let value = run(command("fdtget").arg(tree).args([node, property]))?;
    Ok(String::from_utf8(value)?.trim().to_owned())
}
