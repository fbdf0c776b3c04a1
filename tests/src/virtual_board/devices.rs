//! QEMU's arguments for the parts of a board.

use std::path::Path;

use serde_json::{Value, json};

use super::{Boot, Nvme};
use crate::u_boot::UBoot;

/// The arguments with which QEMU plays the firmware.
pub fn kernel_arguments(boot: &Boot) -> Vec<String> {
    let path = |path: &Path| path.display().to_string();
    let (kernel, initramfs) = (path(&boot.kernel), path(&boot.initramfs));
    let arguments = [
        "-no-reboot",
        "-kernel",
        &kernel,
        "-initrd",
        &initramfs,
        "-append",
        &boot.command_line,
    ];
    arguments.map(str::to_owned).into()
}

/// The two chips of a U-Boot.
pub fn firmware_arguments(u_boot: &UBoot) -> Vec<String> {
    let program = u_boot.program.display();
    let flash = u_boot.flash.display();
    vec![
        "-drive".into(),
        format!("if=pflash,unit=0,format=raw,readonly=on,file={program}"),
        "-drive".into(),
        format!("if=pflash,unit=1,format=raw,file={flash}"),
    ]
}

/// The card in its slot. Debian's U-Boot has no driver for SD cards. If U-Boot must start the card, it is on virtio.
pub fn card_arguments(card: &Path, on_virtio: bool) -> Vec<String> {
    let devices: &[&str] = if on_virtio {
        &["virtio-blk-pci,drive=card,id=card-slot"]
    } else {
        &["sdhci-pci", "sd-card,drive=card,id=card-slot"]
    };
    let mut arguments = file_arguments("card", card, &[]);
    for device in devices {
        arguments.extend(["-device".into(), (*device).to_owned()]);
    }
    arguments
}

/// A file, the errors that it must have, and above both the node that a device uses.
fn file_arguments(node: &str, file: &Path, errors: &[Value]) -> Vec<String> {
    let storage = json!({
        "driver": "file", "node-name": format!("{node}-file"), "filename": file,
        "discard": "unmap", "cache": { "direct": false, "no-flush": false },
    });
    let mut arguments = vec!["-blockdev".into(), storage.to_string()];
    let mut below = format!("{node}-file");
    if !errors.is_empty() {
        let debug = json!({
            "driver": "blkdebug", "node-name": format!("{node}-errors"), "image": below, "inject-error": errors,
        });
        arguments.extend(["-blockdev".into(), debug.to_string()]);
        below = format!("{node}-errors");
    }
    let raw = json!({ "driver": "raw", "node-name": node, "file": below, "discard": "unmap" });
    arguments.extend(["-blockdev".into(), raw.to_string()]);
    arguments
}

/// A disk.
pub fn nvme_arguments(index: usize, nvme: &Nvme) -> Vec<String> {
    let node = format!("nvme{index}");
    let mut arguments = file_arguments(&node, &nvme.file, &nvme.errors);
    let mut drive = node.clone();
    if nvme.bytes_per_second > 0 {
        let group = json!({
            "qom-type": "throttle-group", "id": format!("{node}-limit"),
            "limits": { "bps-total": nvme.bytes_per_second },
        });
        let throttle = json!({
            "driver": "throttle", "node-name": format!("{node}-slow"), "throttle-group": format!("{node}-limit"),
            "file": node,
        });
        arguments.extend([
            "-object".into(),
            group.to_string(),
            "-blockdev".into(),
            throttle.to_string(),
        ]);
        drive = format!("{node}-slow");
    }
    let (serial, sector) = (&nvme.serial, nvme.sector_size);
    arguments.extend([
        "-device".into(),
        format!(
            "nvme,id={node}-slot,drive={drive},serial={serial},logical_block_size={sector},physical_block_size={sector}"
        ),
    ]);
    arguments
}
