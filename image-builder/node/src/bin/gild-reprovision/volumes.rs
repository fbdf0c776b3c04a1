//! The volumes of pods that are still mounted once the pods have ended.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};

use crate::say::say;

const MOUNTS: &str = "proc/self/mountinfo";
/// Where kubelet mounts what holds data: disks of the network, iSCSI, NFS, local ones.
const KUBELET: &str = "/var/lib/kubelet/";

/// Unmounts them, so that what they have in memory reaches the disk or server that it is for.
pub fn unmount(root: &Path) -> Result<()> {
    let mounts = fs::read_to_string(root.join(MOUNTS)).context("reading what is mounted")?;
    for volume in volumes(&mounts) {
        // A server that does not answer holds this up: then it is the last that was said.
        say(&format!("unmounting {volume}"));
        umount2(Path::new(&volume), MntFlags::UMOUNT_NOFOLLOW)
            .with_context(|| format!("unmounting {volume}"))?;
    }
    Ok(())
}

/// In the order in which they can be unmounted: the last that was mounted first.
fn volumes(mounts: &str) -> Vec<String> {
    let place = |line: &str| Some(unescaped(line.split(' ').nth(4)?));
    let places = mounts.lines().filter_map(place);
    let mut volumes: Vec<String> = places.filter(|place| place.starts_with(KUBELET)).collect();
    volumes.reverse();
    volumes
}

/// The kernel writes spaces, tabs, line ends and backslashes as three octal digits.
fn unescaped(text: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (code, meant)| {
        text.replace(code, meant)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kubelet_s_are_unmounted_and_the_last_one_first() {
        let mounts = "21 1 259:2 / / rw - ext4 /dev/root rw\n\
                      40 21 0:40 / /var/lib/kubelet/pods/a/volumes/x rw shared:5 - nfs4 nas:/x rw\n\
                      41 40 8:0 / /var/lib/kubelet/pods/a/volumes/x/a\\040b rw - ext4 /dev/sda rw\n\
                      42 21 0:42 / /run/k3s/containerd/x rw - overlay overlay rw\n\
                      43 21 259:1 / /boot/firmware rw - vfat /dev/nvme0n1p1 rw\n";
        assert_eq!(
            volumes(mounts),
            [
                "/var/lib/kubelet/pods/a/volumes/x/a b",
                "/var/lib/kubelet/pods/a/volumes/x"
            ]
        );
    }
}
