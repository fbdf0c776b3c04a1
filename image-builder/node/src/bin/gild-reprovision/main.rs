//! Has this node flashed again: makes its disk unbootable and reboots into the flasher card.

mod pods;
mod volumes;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Parser;
use gild_proof::card::FlasherCard;
use gild_proof::disk::Disk;

use pods::Pods;

const ROOT: &str = "/";
/// What the image says about itself.
const RELEASE: &str = "usr/lib/gild/image-release";
const NOT_CHANGED: &str = "nothing was changed";
/// It stops nothing but itself: `KillMode=process`.
const UNIT: &str = "k3s-agent.service";

/// Have this node flashed again: all data on its NVMe disk will be lost.
///
/// The first sector of the disk that the root file system lies on becomes zero, so that the board starts from the
/// flasher card, which must be in its slot; then the node reboots.
///
/// Move the pods to other nodes first: `kubectl drain NODE --ignore-daemonsets --delete-emptydir-data`, where you are the cluster's
/// administrator. This program cannot do it, because a node's own rights do not let it look at what its pods belong to.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Stop k3s first, end the pods that are still there, and unmount their volumes. The cluster moves nothing by that.
    #[arg(long)]
    drain: bool,
    /// Go on although no flasher card is in: the node stays down until somebody puts one in and starts it.
    #[arg(long)]
    without_card: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let root = Path::new(ROOT);
    let disk = Disk::of_root(root)?;
    match FlasherCard::find(root) {
        Ok(card) => println!(
            "The flasher card {} takes the image from {}.",
            card.device.display(),
            card.server.join(&manifest(root))
        ),
        Err(error) if arguments.without_card => println!("Nothing flashes this node now: {error}."),
        Err(error) => {
            return Err(anyhow::Error::new(error).context(format!(
                "nothing would flash this node, and {NOT_CHANGED}; give --without-card to go on all the same"
            )));
        }
    }
    let hostname =
        fs::read_to_string("/proc/sys/kernel/hostname").context("reading the host name")?;
    let hostname = hostname.trim();
    let pods = Pods::of(root);
    let running = pods.count().context("reading which pods run here")?;
    if running > 0 {
        println!("{}", of_pods(running, hostname, arguments.drain));
    }
    if !arguments.yes {
        confirm(&disk, hostname)?;
    }
    if arguments.drain {
        drain(&pods, root).with_context(|| {
            format!("the disk was not changed, and k3s is stopped; next: systemctl start {UNIT} to go on as before, or try again")
        })?;
    }
    nix::unistd::sync();
    disk.make_unbootable()?;
    println!(
        "{} does not boot any more. The node reboots into the flasher card, which writes the golden image again.",
        disk.device.display()
    );
    systemctl(&["reboot"])
        .context("running systemctl reboot: reboot this node by hand, it is still to be flashed")
}

/// The share's file that names the image of this board.
fn manifest(root: &Path) -> String {
    let release = fs::read_to_string(root.join(RELEASE)).unwrap_or_default();
    let board = release
        .lines()
        .find_map(|line| line.strip_prefix("GILD_BOARD="));
    format!("{}/golden.json", board.unwrap_or("<board>"))
}

fn of_pods(pods: usize, hostname: &str, drain: bool) -> String {
    let subject = if pods == 1 { "A pod runs" } else { "Pods run" };
    let fate = if drain {
        "ended here, and come up elsewhere only when the cluster has missed this node for minutes"
    } else {
        "cut off in the middle of their work, and so are their volumes: --drain ends them first"
    };
    format!(
        "{subject} on this node ({pods}). Without a drain they are {fate}. Before that, with the cluster's kubeconfig:\n  \
         kubectl drain {hostname} --ignore-daemonsets --delete-emptydir-data\n\
         and when the node is back: kubectl uncordon {hostname}"
    )
}

/// Nothing of k3s runs or has a volume afterwards.
fn drain(pods: &Pods<'_>, root: &Path) -> Result<()> {
    println!("stopping {UNIT}");
    systemctl(&["stop", UNIT])?;
    println!("ending the pods");
    pods.end()?;
    volumes::unmount(root)
}

fn systemctl(arguments: &[&str]) -> Result<()> {
    let status = Command::new("systemctl")
        .args(arguments)
        .status()
        .context("running systemctl")?;
    if !status.success() {
        bail!("systemctl {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}

fn confirm(disk: &Disk, hostname: &str) -> Result<()> {
    if !io::stdin().is_terminal() {
        bail!("there is no terminal to ask on, and {NOT_CHANGED}; next: give --yes");
    }
    print!(
        "All data on {} will be lost, and the flasher card writes the golden image again.\n\
         Type this node's name, {hostname}, to go on: ",
        disk.device.display()
    );
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if answer.trim() != hostname {
        bail!("that is not this node's name, and {NOT_CHANGED}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_flashes_a_node_with_pods_learns_how_to_move_them() {
        for drain in [true, false] {
            let text = of_pods(3, "node-1", drain);
            assert!(
                text.contains("kubectl drain node-1 --ignore-daemonsets"),
                "{text}"
            );
            assert_eq!(text.contains("cut off"), !drain, "{text}");
        }
    }

    #[test]
    fn the_image_that_the_card_would_take_is_that_of_the_board() {
        let root = tempfile::tempdir().expect("a folder");
        assert_eq!(manifest(root.path()), "<board>/golden.json");
        let release = root.path().join(RELEASE);
        fs::create_dir_all(release.parent().expect("a folder")).expect("a folder");
        fs::write(release, "GILD_IMAGE_ID=rpi5-1\nGILD_BOARD=rpi5\n").expect("a file");
        assert_eq!(manifest(root.path()), "rpi5/golden.json");
    }
}
