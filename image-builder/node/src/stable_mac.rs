//! Lasting MAC addresses for Ethernet chips that have none. The flasher gives the same ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use gild_boards::mac::Mac;
use gild_identity::{Interface, lasting_macs};
use log::info;

use crate::board_number::{LOOK, PATIENCE, board};

/// The lasting address of each interface.
type Macs<'a> = BTreeMap<&'a Interface, Mac>;

/// If the kernel made up a wired interface's address, gives it one that is made from the board's number.
pub fn apply(root: &Path) -> Result<()> {
    let wired = Interface::wired(root);
    let random: Vec<&Interface> = wired
        .iter()
        .filter(|interface| interface.has_random_mac())
        .collect();
    if random.is_empty() {
        return Ok(());
    }
    let macs = wait_for_macs(root, &wired).with_context(|| {
        let names: Vec<&str> = random.iter().map(|found| &*found.name).collect();
        format!(
            "{} has no MAC address of its own, so this node is another one after each start",
            names.join(", ")
        )
    })?;
    for (interface, mac) in macs {
        set(interface, mac)?;
        info!(
            "{} has no MAC address of its own: {mac} from the board's number",
            interface.name
        );
    }
    Ok(())
}

fn wait_for_macs<'a>(root: &Path, wired: &'a [Interface]) -> Result<Macs<'a>> {
    let board = board(root)?;
    let Some(place) = &board.cpu_id else {
        bail!("gild knows of no unique number on a {}", board.model);
    };
    let end = Instant::now() + PATIENCE;
    loop {
        match lasting_macs(root, board, wired) {
            Some(macs) => return Ok(macs),
            None if Instant::now() < end => thread::sleep(LOOK),
            None => bail!(
                "the board's number is not in {}; next: check that the image has the kernel module for it",
                place.place()
            ),
        }
    }
}

fn set(interface: &Interface, mac: Mac) -> Result<()> {
    let output = Command::new("ip")
        .args(["link", "set", "dev", &interface.name, "address"])
        .arg(mac.to_string())
        .output()
        .context("running ip")?;
    if !output.status.success() {
        bail!(
            "giving {} the address {mac}: {}",
            interface.name,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_board_that_gild_does_not_know_has_no_such_number() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("proc/device-tree")).expect("a directory");
        fs::write(
            root.path().join("proc/device-tree/compatible"),
            b"vendor,board\0",
        )
        .expect("a board");
        wait_for_macs(root.path(), &[]).expect_err("no number");
    }
}
