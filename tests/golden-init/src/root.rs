//! What the golden image does once it runs: it says so.

use std::fs;

use anyhow::{Context, Result};
use nix::sys::reboot::{RebootMode, reboot};

use crate::initramfs::argument;
use crate::say;

/// Says which image is running, on what, from where, and what else is plugged in.
pub fn report() -> Result<()> {
    let image = fs::read_to_string("/etc/gild-image")
        .context("reading the image id from the root file system")?;
    let model = fs::read_to_string("/proc/device-tree/model").context("reading the model")?;
    let root = std::env::var("ROOT_DEVICE").context("the initramfs names the root device")?;
    let model = model.trim_end_matches('\0');
    say(&format!(
        "image {} running on {model}, root {root}",
        image.trim()
    ));
    let data = fs::read("/usr/share/golden/data").context("reading the data file")?;
    say(&format!(
        "data {} bytes, sum {:016x}",
        data.len(),
        sum(&data)
    ));
    let mut disks: Vec<String> = fs::read_dir("/sys/block")?
        .flatten()
        .map(|disk| disk.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("mmcblk") || name.starts_with("nvme"))
        .collect();
    disks.sort();
    say(&format!("disks {}", disks.join(" ")));
    if argument("golden.start=")?.as_deref() == Some("proves") {
        say("all is well: this start is the proof");
    }
    Ok(())
}

/// FNV-1a, 64 bits: enough to say that the file system gave the bytes that were put into it.
fn sum(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Ends the machine. Never returns: the kernel panics when its first process ends.
pub fn power_off() -> ! {
    nix::unistd::sync();
    let _ = reboot(RebootMode::RB_POWER_OFF);
    loop {
        std::thread::park();
    }
}
