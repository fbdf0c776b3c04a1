//! What the golden image does once it runs: it reports itself.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use gild_proof::Standing;
use nix::mount::{MsFlags, mount};
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
        prove()?;
    }
    Ok(())
}

/// Proves the image, as the units of a real image do, with the same code.
fn prove() -> Result<()> {
    let root = Path::new("/");
    let boot = Path::new("/boot/firmware");
    fs::create_dir_all(boot)?;
    let device = std::env::var("ROOT_DEVICE")?.replace("p2", "p1");
    mount(
        Some(&*device),
        boot,
        Some("vfat"),
        MsFlags::empty(),
        None::<&str>,
    )
    .with_context(|| format!("mounting {device}"))?;
    let standing = gild_proof::prove(root)?;
    gild_proof::end_trial(root)?;
    // The boot partition stays mounted, as on a node: to unmount it would write what a power cut now loses.
    say(&match standing {
        Standing::Proven(record) => format!("image {} is proven", record.image_id),
        Standing::NoRecord(reason) => format!("nothing is proven: {reason}"),
    });
    call_virtio_card_an_sd_card()?;
    // udev would make the labels of partitions, and this image has no udev.
    let labels = Path::new("/dev/disk/by-label");
    fs::create_dir_all(labels)?;
    for card in ["mmcblk0p1", "mmcblk1p1", "vda1", "vdb1"] {
        let device = Path::new("/dev").join(card);
        if device.exists() {
            std::os::unix::fs::symlink(device, labels.join("GILD"))?;
        }
    }
    if gild_proof::should_visit_card(root)? {
        say("restarting once for the boot order");
        nix::unistd::sync();
        reboot(RebootMode::RB_AUTOBOOT)?;
    }
    Ok(())
}

/// If U-Boot starts the board, the card is on virtio. But a node restarts only to an SD card. So this replaces what the kernel shows of the
/// card's device by what it shows of an SD card.
fn call_virtio_card_an_sd_card() -> Result<()> {
    let Ok(device) = fs::canonicalize("/sys/class/block/vda/device") else {
        return Ok(());
    };
    mount(
        Some("sd-card"),
        &device,
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .context("mounting over the card's device")?;
    let shown = device.join("block/vda/device");
    fs::create_dir_all(&shown)?;
    Ok(fs::write(shown.join("type"), "SD\n")?)
}

/// FNV-1a, 64 bits: enough to show that the file system returns the bytes that were written.
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
