//! A MAC address that lasts, for Ethernet chips that have none: the same that the flasher gives.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gild_boards::mac::Mac;
use gild_identity::{Interface, lasting_macs};
use log::info;

const COMPATIBLE: &str = "proc/device-tree/compatible";
/// How long the driver of the processor's memory may take to appear.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(100);

/// The addresses that last, by interface.
type Macs<'a> = BTreeMap<&'a Interface, Mac>;

/// Gives every wired interface whose address is made up one that is made from the processor's number.
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
            "{} has no MAC address of its own: {mac} from the processor's number",
            interface.name
        );
    }
    Ok(())
}

fn wait_for_macs<'a>(root: &Path, wired: &'a [Interface]) -> Result<Macs<'a>> {
    let path = root.join(COMPATIBLE);
    let compatible = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let board = gild_boards::detect(&compatible)?;
    let Some(place) = &board.cpu_id else {
        bail!("gild knows of no unique number on a {}", board.model);
    };
    let end = Instant::now() + PATIENCE;
    loop {
        match lasting_macs(root, board, wired) {
            Some(macs) => return Ok(macs),
            None if Instant::now() < end => thread::sleep(LOOK),
            None => bail!(
                "the processor's number is not in /sys/bus/nvmem/devices/{}*: is its kernel module there?",
                place.nvmem
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
    use super::*;

    #[test]
    fn a_board_without_such_a_number_says_so() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("proc/device-tree")).expect("a directory");
        fs::write(root.path().join(COMPATIBLE), b"raspberrypi,5-model-b\0").expect("a board");
        let error = wait_for_macs(root.path(), &[]).expect_err("no number");
        assert!(error.to_string().contains("Raspberry Pi 5"), "{error}");
    }
}
