//! Has this node flashed again: makes its disk unbootable and reboots into the flasher card.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Parser;
use gild_proof::disk::{Disk, has_flasher_card};

const ROOT: &str = "/";

/// Have this node flashed again: all data on its NVMe disk will be lost.
///
/// The first sector of the disk that the root file system lies on becomes zero, so that the board starts from the
/// flasher card, which must be in its slot; then the node reboots.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Go on although no flasher card is in: the node stays down until somebody puts one in and starts it.
    #[arg(long)]
    without_card: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let root = Path::new(ROOT);
    let disk = Disk::of_root(root)?;
    if !has_flasher_card(root) && !arguments.without_card {
        bail!(
            "no flasher card (an SD card with a file system labelled GILD) is in this node, so nothing would flash it, and nothing \
             was changed; next: put the flasher card in, or give --without-card"
        );
    }
    if !arguments.yes {
        confirm(&disk)?;
    }
    nix::unistd::sync();
    disk.make_unbootable()?;
    println!(
        "{} does not boot any more. The node reboots into the flasher card, which writes the golden image again.",
        disk.device.display()
    );
    let reboot = || -> Result<()> {
        let status = Command::new("systemctl").arg("reboot").status()?;
        if !status.success() {
            bail!("it ended with {status}");
        }
        Ok(())
    };
    reboot()
        .context("running systemctl reboot: reboot this node by hand, it is still to be flashed")
}

fn confirm(disk: &Disk) -> Result<()> {
    if !io::stdin().is_terminal() {
        bail!("there is no terminal to ask on: give --yes. Nothing was changed");
    }
    let hostname =
        fs::read_to_string("/proc/sys/kernel/hostname").context("reading the host name")?;
    let hostname = hostname.trim();
    print!(
        "All data on {} will be lost, and the flasher card writes the golden image again.\n\
         Type this node's name, {hostname}, to go on: ",
        disk.device.display()
    );
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if answer.trim() != hostname {
        bail!("that is not this node's name. Nothing was changed");
    }
    Ok(())
}
