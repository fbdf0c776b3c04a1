//! Devices on PCI Express that the kernel has not seen or has given up, brought back without an operator.
//!
//! No supported board has hot-plug: the kernel looks at each port once, at the start. A disk whose link comes up too late, drops
//! off the bus or fails a reset stays away until a program asks the kernel to look again. This module does so, in two steps.
//! Nothing that works is touched: a controller that is live, or on its way there, and a host with a device behind it. And no disk
//! is taken off the bus: if there are two and one does not come back, the other would be the only disk, and the agent writes the
//! only disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::{info, warn};

use crate::select::{NVME_CLASS, System};

/// PCI class of everything that is only a way to other devices.
const BRIDGE_CLASS: &str = "0x06";
/// States of an NVMe controller in which the kernel uses it or is still trying (drivers/nvme/host/core.c).
const AT_WORK: [&str; 4] = ["live", "new", "resetting", "connecting"];

/// What is done about a device that does not show during one wait.
#[derive(Debug)]
pub struct Revival {
    wait: Duration,
    efforts: u32,
}

impl Revival {
    /// For a wait of this length.
    #[must_use]
    pub const fn within(wait: Duration) -> Self {
        Self { wait, efforts: 0 }
    }

    /// Does what is due: the first effort after a third of the wait, the second one after two thirds.
    pub fn step(&mut self, system: &System, elapsed: Duration) {
        let effort: fn(&System) = match self.efforts {
            0 => rescan,
            1 => rebind,
            _ => return,
        };
        if elapsed >= self.wait * (self.efforts + 1) / 3 {
            self.efforts += 1;
            effort(system);
        }
    }
}

/// Makes the kernel look at all PCI buses again.
fn rescan(system: &System) {
    info!("looking again for devices on PCI Express");
    write(&system.sys.join("bus/pci/rescan"), "1");
}

/// Starts again what the kernel has given up: NVMe controllers that it no longer uses, and PCI Express hosts with nothing
/// behind them.
fn rebind(system: &System) {
    for host in empty_hosts(system) {
        start_driver(&host, &system.sys.join("bus/platform"));
    }
    rescan(system);
    let controllers = nvme_controllers(system);
    for device in controllers.iter().filter(|device| !is_at_work(device)) {
        if controllers.len() == 1 {
            info!("the kernel has given up {}: adding it again", name(device));
            write(&device.join("remove"), "1");
            rescan(system);
        } else {
            start_driver(device, &system.sys.join("bus/pci"));
        }
    }
}

/// Starts a device's driver from the beginning, if it can release the device: the driver of the Rock 5B's hosts cannot
/// (`suppress_bind_attrs`). A host whose link stayed down at the start has no driver.
fn start_driver(device: &Path, bus: &Path) {
    let unbind = device.join("driver/unbind");
    if device.join("driver").exists() {
        if !unbind.exists() {
            return;
        }
        write(&unbind, &name(device));
    }
    info!("starting the driver of {} again", name(device));
    write(&bus.join("drivers_probe"), &name(device));
}

/// All NVMe controllers on PCI, whether the kernel uses them or not.
pub(crate) fn nvme_controllers(system: &System) -> Vec<PathBuf> {
    let mut devices = entries(&system.sys.join("bus/pci/devices"));
    devices.retain(|device| text(&device.join("class")).as_deref() == Some(NVME_CLASS));
    devices
}

/// Whether the kernel uses a controller, or is still trying to.
fn is_at_work(device: &Path) -> bool {
    entries(&device.join("nvme")).iter().any(|controller| {
        text(&controller.join("state")).is_some_and(|state| AT_WORK.contains(&state.as_str()))
    })
}

/// PCI Express hosts of the processor that lead to bridges only.
fn empty_hosts(system: &System) -> Vec<PathBuf> {
    let ends: Vec<PathBuf> = entries(&system.sys.join("bus/pci/devices"))
        .into_iter()
        .filter(|device| {
            text(&device.join("class")).is_none_or(|class| !class.starts_with(BRIDGE_CLASS))
        })
        .filter_map(|device| device.canonicalize().ok())
        .collect();
    let is_host = |device: &PathBuf| {
        fs::read(device.join("of_node/device_type")).is_ok_and(|kind| kind == b"pci\0")
    };
    entries(&system.sys.join("bus/platform/devices"))
        .into_iter()
        .filter(is_host)
        .filter(|host| {
            host.canonicalize()
                .is_ok_and(|host| !ends.iter().any(|end| end.starts_with(&host)))
        })
        .collect()
}

/// An action that the kernel refuses is skipped: the operator then sees the fault of the missing disk.
fn write(file: &Path, value: &str) {
    let written = fs::OpenOptions::new()
        .write(true)
        .open(file)
        .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
    if let Err(error) = written {
        warn!("writing {value} to {} failed: {error}", file.display());
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    entries
}

fn name(device: &Path) -> String {
    let name = device.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn text(file: &Path) -> Option<String> {
    Some(fs::read_to_string(file).ok()?.trim().to_owned())
}
