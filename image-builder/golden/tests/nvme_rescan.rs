//! The initramfs script that wakes NVMe disks, run by the host's shell in a mount namespace with a /sys made of plain
//! files. A real kernel would show the namespace after the write; here only the write is seen.

use std::process::Command;

/// Runs the script as often as initramfs-tools would in so many seconds, and gives what is in these files afterwards.
fn run(seconds: usize, sys: &[(&str, &str)], look: &[&str]) -> Vec<String> {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../node/rootfs/etc/initramfs-tools/scripts/local-block/gild-nvme"
    );
    let mut lines = vec![
        "set -eu".to_owned(),
        "mount -t tmpfs none /sys".to_owned(),
        "mount -t tmpfs none /run".to_owned(),
    ];
    for (path, content) in sys {
        lines.push(format!("mkdir -p \"$(dirname /sys/{path})\""));
        lines.push(format!("printf '%s' '{content}' >/sys/{path}"));
    }
    lines.push(format!(
        "for second in $(seq {seconds}); do sh '{script}' >>/run/said; done"
    ));
    for path in look {
        lines.push(format!("cat /sys/{path} | tr -d '\\n'; echo"));
    }
    lines.push("wc -l </run/said".to_owned());
    let text = lines.join("\n");
    let is_root = nix::unistd::geteuid().is_root();
    let output = Command::new("unshare")
        .arg(if is_root { "-m" } else { "-Urm" })
        .args(["sh", "-c", &text])
        .output()
        .expect("unshare");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "this needs root or user namespaces: {said}"
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

const RESCAN: &str = "class/nvme/nvme0/rescan_controller";
const PCI: &str = "bus/pci/rescan";

#[test]
fn a_controller_without_a_namespace_is_scanned_each_second() {
    let found = run(3, &[(RESCAN, ""), (PCI, "")], &[RESCAN, PCI]);
    assert_eq!(found, ["1", "", "3"]);
}

#[test]
fn a_disk_that_is_there_is_left_alone() {
    for namespace in ["nvme0n1", "nvme0c0n1"] {
        let namespace = format!("class/nvme/nvme0/{namespace}/size");
        let found = run(
            2,
            &[(RESCAN, ""), (PCI, ""), (&namespace, "1000")],
            &[RESCAN, PCI],
        );
        assert_eq!(found, ["", "", "0"]);
    }
}

#[test]
fn without_a_controller_the_bus_is_scanned_once() {
    let found = run(3, &[(PCI, "")], &[PCI]);
    assert_eq!(found, ["1", "1"]);
}
