//! The disk of this machine to write, and the reasons not to write it.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use gild_disk::select::{System, in_use};
use gild_disk::{BlockDevice, Target};

use super::Refused;
use crate::output::must_not_hold;

/// A disk nothing uses.
pub struct Disk {
    /// Opened for writing.
    pub target: BlockDevice,
    /// Path, model, serial, size: how a person recognizes it.
    pub description: String,
}

/// Looks whether the target is there, and is a disk, or a file if that is allowed.
pub fn look(path: &Path, allow_file: bool) -> Result<Metadata> {
    let shown = path.display();
    let metadata = fs::metadata(path).map_err(|error| {
        let next = if allow_file {
            "give a file that is as large as the disk is to be (`truncate --size=8G FILE` makes one)"
        } else {
            "give a disk that `lsblk` shows"
        };
        Refused::target(format!("cannot look at {shown}: {error}; next: {next}"))
    })?;
    if metadata.is_file() {
        ensure!(
            allow_file,
            Refused::target(format!(
                "{shown} is a regular file; next: give a disk that `lsblk` shows, or add --allow-file to write into the file"
            ))
        );
        return Ok(metadata);
    }
    ensure!(
        metadata.file_type().is_block_device(),
        Refused::target(format!(
            "{shown} is neither a disk nor a file; next: give a disk that `lsblk` shows"
        ))
    );
    Ok(metadata)
}

/// Opens the target if there is no reason against it.
///
/// What the command reads is not written over: it would be gone before it is read.
pub fn open(path: &Path, allow_file: bool, sector_size: u32, inputs: &[&Path]) -> Result<Disk> {
    let metadata = look(path, allow_file)?;
    let shown = path.display();
    must_not_hold(path, inputs).map_err(|error| Refused::target(error.to_string()))?;
    if metadata.is_file() {
        let target =
            BlockDevice::open_file(path, sector_size).map_err(|error| not_opened(&error))?;
        if !target.is_direct() {
            log::warn!(
                "the file system of {shown} has no direct I/O: reading back through its cache, dropped before"
            );
        }
        let description = format!("{shown} (a file of {} bytes)", target.size());
        return Ok(Disk {
            target,
            description,
        });
    }
    let system = System::default();
    // From /dev/disk/by-id and similar links to the kernel's name.
    let node = path
        .canonicalize()
        .with_context(|| format!("cannot resolve {shown}"))?;
    let name = node.file_name().unwrap_or_default().to_string_lossy();
    let sysfs = system.sys.join("class/block").join(&*name);
    ensure!(
        !sysfs.join("partition").exists(),
        Refused::target(format!("{shown} is a partition; next: name the whole disk"))
    );
    let uses = in_use(&system, &name).with_context(|| format!("cannot look at {shown}"))?;
    ensure!(
        uses.is_empty(),
        Refused::target(format!(
            "{shown} is in use: {}; nothing was written; next: unmount it, or give another disk",
            uses.join(", ")
        ))
    );
    let target = BlockDevice::open(path).map_err(|error| not_opened(&error))?;
    let about = |file: &str| {
        let text = fs::read_to_string(sysfs.join("device").join(file)).unwrap_or_default();
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let mut description = format!("{shown} ({} bytes", target.size());
    for text in [about("model"), about("serial")].into_iter().flatten() {
        description.push_str(", ");
        description.push_str(&text);
    }
    description.push(')');
    Ok(Disk {
        target,
        description,
    })
}

/// Why the disk cannot be opened, with what helps.
fn not_opened(error: &io::Error) -> Refused {
    let next = match error.kind() {
        ErrorKind::ResourceBusy => "; next: end that use, and run this again",
        ErrorKind::PermissionDenied => "; next: run this as root",
        ErrorKind::ReadOnlyFilesystem => {
            "; next: look for a switch on the medium, or a read-only setting (`lsblk` shows RO)"
        }
        ErrorKind::InvalidInput => {
            "; next: give a whole disk, or a file that `truncate --size=8G FILE` makes"
        }
        _ => "",
    };
    Refused::target(format!("{error}{next}"))
}
