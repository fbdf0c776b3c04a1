//! Finds hardware that is slow or failing, and reports it on the console and in the reports. The findings never change what is written.

mod clock;
mod pcie;
mod smart;
mod wired;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use gild_disk::Smart;
use gild_disk::select::Candidate;
use gild_report::{Finding, Level};
use log::{info, warn};

use crate::clock::Setting;
use crate::machine::Machine;

/// How long the work waits for a disk's answer about itself. A later answer is reported when it comes.
const ANSWER: Duration = Duration::from_secs(2);
const SYS: &str = "/sys";

/// Looks at the speed of the wired link in use.
pub fn look_at_link(machine: &Machine, interface: &str) {
    let speed = read(
        &Path::new(SYS)
            .join("class/net")
            .join(interface)
            .join("speed"),
    );
    let found = wired::judge(interface, speed.unwrap_or_default().trim());
    tell(machine, wired::SUBJECT, found.into_iter().collect());
}

/// Logs and reports what setting the clock has revealed. The clock is right after that, so the finding stays.
pub fn look_at_clock(machine: &Machine, setting: &Setting) {
    if let Some(found) = clock::judge(setting) {
        tell(machine, clock::SUBJECT, vec![found]);
    }
}

/// Checks the disk's link and health. A disk that does not answer delays nothing, because the story notices that by itself.
pub fn look_at_disk(machine: &'static Machine, disk: &Candidate) {
    let disk = disk.clone();
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        tell(machine, pcie::SUBJECT, pcie_of(Path::new(SYS), &disk.path));
        match Smart::read(&disk.path) {
            Ok(smart) => tell(machine, smart::SUBJECT, smart::judge(smart)),
            Err(error) => info!("{} does not say how it is: {error}", disk.path.display()),
        }
        // If it took longer, nobody waits any more.
        let _ = done.send(());
    });
    if is_done.recv_timeout(ANSWER).is_err() {
        warn!(
            "the disk has not said within {} s how it is",
            ANSWER.as_secs()
        );
    }
}

/// The link of the disk, and the port that it is plugged into: the PCI devices above the disk in sysfs.
fn pcie_of(sys: &Path, disk: &Path) -> Vec<Finding> {
    let name = disk.file_name().unwrap_or_default();
    let Ok(place) = fs::canonicalize(sys.join("class/block").join(name)) else {
        return Vec::new();
    };
    let devices = place
        .ancestors()
        .filter(|device| device.join("max_link_speed").exists());
    let devices: Vec<&Path> = devices.take(2).collect();
    let [disk, port] = devices[..] else {
        return Vec::new();
    };
    let link = |device: &Path, which: &str| {
        let text = |what| read(&device.join(format!("{which}_link_{what}"))).unwrap_or_default();
        pcie::Link::parse(&text("speed"), &text("width"))
    };
    match (link(disk, "current"), link(disk, "max"), link(port, "max")) {
        (Some(now), Some(disk), Some(port)) => pcie::judge(now, disk, port),
        _ => Vec::new(),
    }
}

fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
}

fn tell(machine: &Machine, subject: &str, found: Vec<Finding>) {
    if !machine.reporter.found(subject, &found) {
        return;
    }
    for Finding {
        subject,
        level,
        message,
    } in found
    {
        match level {
            Level::Note => info!("{subject}: {message}"),
            Level::Warning => warn!("{subject}: {message}"),
        }
    }
}

fn finding(subject: &str, level: Level, message: String) -> Finding {
    Finding {
        subject: subject.to_owned(),
        level,
        message,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// The folders of a Raspberry Pi 5 with an NVMe disk, with the texts of its sysfs.
    fn sysfs(port: [&str; 2], disk: [&str; 4]) -> tempfile::TempDir {
        let sys = tempfile::tempdir().expect("a directory");
        let bridge = sys
            .path()
            .join("devices/platform/axi/1000110000.pcie/pci0001:00/0001:00:00.0");
        let device = bridge.join("0001:01:00.0");
        let block = device.join("nvme/nvme0/nvme0n1");
        fs::create_dir_all(&block).expect("folders");
        let write = |folder: &Path, name: &str, text: &str| {
            fs::write(folder.join(name), format!("{text}\n")).expect("a file");
        };
        write(&bridge, "max_link_speed", port[0]);
        write(&bridge, "max_link_width", port[1]);
        write(&device, "current_link_speed", disk[0]);
        write(&device, "current_link_width", disk[1]);
        write(&device, "max_link_speed", disk[2]);
        write(&device, "max_link_width", disk[3]);
        let class = sys.path().join("class/block");
        fs::create_dir_all(&class).expect("folders");
        symlink(&block, class.join("nvme0n1")).expect("a link");
        sys
    }

    #[test]
    fn the_disk_s_link_is_compared_with_the_port_above_it() {
        let disk = Path::new("/dev/nvme0n1");
        let sys = sysfs(
            ["5.0 GT/s PCIe", "1"],
            ["2.5 GT/s PCIe", "1", "8.0 GT/s PCIe", "4"],
        );
        let found = pcie_of(sys.path(), disk);
        assert_eq!(found[0].level, Level::Warning, "{found:?}");
        // On a virtual board the disk has no port above it.
        fs::remove_file(
            sys.path().join(
                "devices/platform/axi/1000110000.pcie/pci0001:00/0001:00:00.0/max_link_speed",
            ),
        )
        .expect("a file");
        assert_eq!(pcie_of(sys.path(), disk), []);
        assert_eq!(pcie_of(sys.path(), Path::new("/dev/nvme1n1")), []);
    }
}
