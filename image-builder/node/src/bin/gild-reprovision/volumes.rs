//! The volumes of pods that are still mounted once the pods have ended.

use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, umount2};

use crate::bounded;
use crate::say::say;

/// A volume may have much data in memory, and its server may be slow.
const PATIENCE: Duration = Duration::from_mins(3);
const MOUNTS: &str = "proc/self/mountinfo";
/// Where kubelet mounts volumes with data: network disks, iSCSI, NFS, local disks.
const KUBELET: &str = "/var/lib/kubelet/";

/// Unmounts them, so that their data in memory reaches its disk or server.
pub fn unmount(root: &Path) -> Result<()> {
    let mounts = fs::read_to_string(root.join(MOUNTS)).context("reading what is mounted")?;
    for volume in volumes(&mounts) {
        say(&format!("unmounting {volume}"));
        let program = std::env::current_exe().context("finding this program")?;
        let mut one = Command::new(program);
        ended(bounded::run(one.arg("--unmount").arg(&volume), PATIENCE))
            .with_context(|| format!("unmounting {volume}"))?;
    }
    Ok(())
}

/// Unmounts one volume. This runs in a process of its own, because a server that does not answer blocks it. The exit status is the number
/// of the error.
pub fn unmount_one(volume: &Path) -> ExitCode {
    match umount2(volume, MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(u8::try_from(error as i32).unwrap_or(u8::MAX)),
    }
}

fn ended(status: io::Result<Option<ExitStatus>>) -> Result<()> {
    let Some(status) = status? else {
        bail!(
            "it was not done after {} seconds: its disk or server does not answer",
            PATIENCE.as_secs()
        );
    };
    match status.code() {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(error).into()),
        None => bail!("it ended with {status}"),
    }
}

/// In the order in which they can be unmounted: the one that was mounted last comes first.
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
    fn a_volume_that_is_not_unmounted_has_a_reason() {
        let by = |script: &str, patience| {
            let mut shell = Command::new("sh");
            let status = bounded::run(shell.args(["-c", script]), patience);
            ended(status).map_err(|error| error.to_string())
        };
        let long = Duration::from_secs(20);
        assert_eq!(by("exit 0", long), Ok(()));
        let busy = by("exit 16", long).expect_err("an error");
        assert!(busy.contains("busy"), "{busy}");
        let hung = by("sleep 50", Duration::from_millis(100)).expect_err("no end");
        assert!(hung.contains("does not answer"), "{hung}");
    }

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
