//! Which disk may be written: the one NVMe namespace that is certainly not the operator's other disk.

use std::path::PathBuf;
use std::time::Duration;

use crate::{Clock, Fault};

/// Where the kernel tells about its disks. Tests point it at directories of their own.
#[derive(Clone, Debug)]
pub struct System {
    /// Mount point of sysfs.
    pub sys: PathBuf,
    /// Mount point of proc.
    pub proc: PathBuf,
    /// Directory of the device nodes.
    pub dev: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        Self {
            sys: "/sys".into(),
            proc: "/proc".into(),
            dev: "/dev".into(),
        }
    }
}

/// What the image and the configuration ask of a target.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Least size in bytes.
    pub size: u64,
    /// Logical sector size in bytes.
    pub sector_size: u32,
    /// Only the disk with this serial number.
    pub serial: Option<String>,
    /// Kernel name of the disk or partition this machine booted from (`mmcblk0p1`), if known.
    pub boot_medium: Option<String>,
}

/// A disk, as sysfs describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Device node.
    pub path: PathBuf,
    /// Model.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// Size in bytes.
    pub size: u64,
    /// Logical sector size in bytes.
    pub sector_size: u32,
}

/// A disk that was seen, and why it must not be written, if so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The disk.
    pub candidate: Candidate,
    /// Why it was refused; `None` if it may be written.
    pub refusal: Option<String>,
}

/// No target, or more than one. Always [`Fault::NoTarget`].
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SelectError {
    /// What was found, why each disk was refused, and what to do.
    pub message: String,
}

impl SelectError {
    /// The fault number.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::NoTarget
    }
}

/// Picks the one NVMe namespace that may be written. Waits for it until the deadline has passed, and has a controller
/// that shows no namespace scanned again.
pub fn choose(
    system: &System,
    wanted: &Wanted,
    clock: &dyn Clock,
    wait: Duration,
) -> Result<Candidate, SelectError> {
    todo!("{system:?} {wanted:?} {:?} {wait:?}", clock.now())
}

/// What stands against writing to the block device with this kernel name, whatever it is: what it is in use for.
/// Empty if nothing does.
pub fn in_use(system: &System, name: &str) -> std::io::Result<Vec<String>> {
    todo!("{system:?} {name}")
}
