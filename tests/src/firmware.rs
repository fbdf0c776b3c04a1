//! A stand-in for the board's firmware when it starts a disk or a card.
//!
//! It is not the board's firmware: no EEPROM and no U-Boot run here. It does what they do with a bootable disk. It reads the disk's own
//! partition table and the configuration in the disk's own boot partition. From that partition it takes the kernel, the initramfs and the
//! command line that the configuration names. Nothing comes from anywhere else.

mod device_tree;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use gild_boards::uboot_script::Script;
use gild_proof::trial;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::board_dtb::Product;
use crate::command::{command, run};
use crate::virtual_board::Boot;

pub use device_tree::Revision;

const FAT_IN_GPT: Option<&str> = Some("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7");
const FAT_IN_MBR: Option<&str> = Some("c");

/// Finds what the disk would boot, as the firmware of `product` would, and copies it into `directory`. The kernel on it must survive its
/// start on the newest revision of the board.
pub fn boot_from_disk(product: Product, disk: &Path, directory: &Path) -> Result<Boot> {
    let boot = files_on_disk(product, disk, directory)?;
    if product.has_eeprom() {
        start_tree(Revision::default(), disk, directory)?;
    }
    Ok(boot)
}

/// Gives the kernel of a disk for the Raspberry Pi 5 its device tree. An error says why the kernel would die.
pub fn start_tree(revision: Revision, disk: &Path, directory: &Path) -> Result<()> {
    let drive = boot_drive(Product::Rpi5, disk)?;
    let config = text(&drive, "config.txt")?;
    device_tree::start(&drive, &config, revision, directory)
}

/// As [`boot_from_disk`], without a look at the device tree.
pub fn files_on_disk(product: Product, disk: &Path, directory: &Path) -> Result<Boot> {
    let drive = boot_drive(product, disk)?;
    let wanted = match product {
        Product::Rpi5 => {
            from_config_txt(&text(&drive, "config.txt")?, &text(&drive, "cmdline.txt")?)?
        }
        Product::Rock5b | Product::Unknown => from_boot_script(&bytes(&drive, trial::BOOT_SCR)?)?,
    };
    let kernel = directory.join("booted-kernel");
    let initramfs = directory.join("booted-initramfs");
    for (name, place) in [(&wanted.kernel, &kernel), (&wanted.initramfs, &initramfs)] {
        run(command("mcopy")
            .args(["-n", "-o", "-i", &drive])
            .arg(format!("::{name}"))
            .arg(place))?;
    }
    Ok(Boot {
        kernel,
        initramfs,
        command_line: wanted.command_line,
    })
}

/// A file in the boot partition of a disk.
pub fn file_in_boot_partition(product: Product, disk: &Path, name: &str) -> Result<String> {
    text(&boot_drive(product, disk)?, name)
}

/// Adds to the kernel's arguments in the boot partition of a disk.
pub fn add_kernel_arguments(product: Product, disk: &Path, arguments: &str) -> Result<()> {
    let drive = boot_drive(product, disk)?;
    match product {
        Product::Rpi5 => {
            let line = text(&drive, "cmdline.txt")?;
            let line = format!("{} {arguments}\n", line.trim_end());
            replace(&drive, "cmdline.txt", line.as_bytes())
        }
        Product::Rock5b | Product::Unknown => {
            let mut script = Script::parse(&bytes(&drive, trial::BOOT_SCR)?)?;
            let text = String::from_utf8(script.text)?;
            let wanted = from_boot_text(&text)?.command_line;
            script.text = text
                .replace(&wanted, &format!("{wanted} {arguments}"))
                .into_bytes();
            replace(&drive, trial::BOOT_SCR, &script.to_bytes()?)
        }
    }
}

/// The names in a folder of the boot partition of a disk, sorted; the empty one is its root.
pub fn names_in_boot_partition(product: Product, disk: &Path, folder: &str) -> Result<Vec<String>> {
    let drive = boot_drive(product, disk)?;
    let listing = run(command("mdir")
        .args(["-b", "-i", &drive])
        .arg(format!("::{folder}")))?;
    let listing = String::from_utf8(listing)?;
    let names = listing.lines().filter_map(|line| {
        let path = line.trim_end_matches('/');
        Some(path.rsplit('/').next()?.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

/// The kernel's command line with QEMU's serial port instead of those of the boards, which QEMU lacks.
#[must_use]
pub fn on_qemu(command_line: &str, more: &str) -> String {
    let words = command_line.split_whitespace();
    let words = words.filter(|word| !word.starts_with("console="));
    let words: Vec<&str> = words.chain(["console=ttyAMA0", more]).collect();
    words.join(" ").trim_end().to_owned()
}

/// As mtools calls it.
fn boot_drive(product: Product, disk: &Path) -> Result<String> {
    let offset = boot_partition(product, disk)
        .with_context(|| format!("{} does not boot", disk.display()))?;
    Ok(format!("{}@@{offset}", disk.display()))
}

#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    kernel: String,
    initramfs: String,
    command_line: String,
}

/// The Pi's firmware takes the first FAT partition; U-Boot the first one with the legacy boot attribute.
fn boot_partition(product: Product, disk: &Path) -> Result<u64> {
    let json = run(command("sfdisk").arg("--json").arg(disk)).context("no partition table")?;
    let table: Value = serde_json::from_slice(&json)?;
    let partitions = table["partitiontable"]["partitions"]
        .as_array()
        .context("an empty partition table")?;
    let boots = |partition: &Value| match product {
        Product::Rpi5 => [FAT_IN_GPT, FAT_IN_MBR].contains(&partition["type"].as_str()),
        Product::Rock5b | Product::Unknown => partition["attrs"]
            .as_str()
            .is_some_and(|attributes| attributes.contains("LegacyBIOSBootable")),
    };
    let partition = partitions
        .iter()
        .find(|partition| boots(partition))
        .context("no partition to boot from")?;
    Ok(partition["start"]
        .as_u64()
        .context("a partition has a start")?
        * 512)
}

fn bytes(drive: &str, name: &str) -> Result<Vec<u8>> {
    run(command("mcopy")
        .args(["-i", drive])
        .arg(format!("::{name}"))
        .arg("-"))
    .with_context(|| format!("no {name} in the boot partition"))
}

fn replace(drive: &str, name: &str, content: &[u8]) -> Result<()> {
    let mut file = NamedTempFile::new()?;
    file.write_all(content)?;
    run(command("mcopy")
        .args(["-o", "-i", drive])
        .arg(file.path())
        .arg(format!("::{name}")))?;
    Ok(())
}

fn text(drive: &str, name: &str) -> Result<String> {
    Ok(String::from_utf8(bytes(drive, name)?)?)
}

fn from_config_txt(config: &str, command_line: &str) -> Result<Wanted> {
    let mut kernel = None;
    let mut initramfs = None;
    for line in config.lines() {
        if let Some(name) = line.strip_prefix("kernel=") {
            kernel = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("initramfs ") {
            initramfs = rest.split_whitespace().next().map(str::to_owned);
        }
    }
    Ok(Wanted {
        kernel: kernel.context("config.txt names no kernel")?,
        initramfs: initramfs.context("config.txt names no initramfs")?,
        command_line: command_line.trim().to_owned(),
    })
}

/// What the script starts if it does not return to the card.
fn from_boot_script(script: &[u8]) -> Result<Wanted> {
    from_boot_text(&String::from_utf8(Script::parse(script)?.text)?)
}

fn from_boot_text(text: &str) -> Result<Wanted> {
    let loaded = |address: &str| {
        let (_, rest) = text.split_once(&format!(" ${{{address}}} "))?;
        rest.split_whitespace().next().map(str::to_owned)
    };
    let mut lines = text.lines();
    let arguments = lines.find_map(|line| line.strip_prefix("setenv bootargs "));
    let arguments = arguments.context("boot.scr sets no kernel arguments")?;
    Ok(Wanted {
        kernel: loaded("kernel_addr_r").context("boot.scr loads no kernel")?,
        initramfs: loaded("ramdisk_addr_r").context("boot.scr loads no initramfs")?,
        command_line: arguments.trim_matches('"').to_owned(),
    })
}
