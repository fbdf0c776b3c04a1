//! `gild node open` and `close`: the door of a node on the desk that runs.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use gild_boards::mac::Mac;
use gild_desk::folder::Folder;
use gild_desk::metadata::Groups;
use serde::Deserialize;
use serde_json::json;

use super::mac;
use crate::desk::running::Desk;

/// Arguments of `gild node open` and `close`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that `gild init` made, of a desk that runs
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// MAC address of the board
    #[arg(long, value_name = "MAC")]
    mac: String,
}

/// What the desk's answer has of its boards.
#[derive(Deserialize)]
struct Rack {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    mac: String,
    other_macs: Vec<String>,
}

/// Opens or closes the door of a node.
pub fn run(args: &Args, open: bool) -> Result<()> {
    let folder = Folder::new(&args.folder);
    let mac = mac(&args.mac)?;
    let desk = Desk::of(&folder)?;
    let has_group = Groups::read(folder.path()).has(&mac.to_string());
    // The desk would keep what was a slip of the hand as a board.
    if !has_group && !knows(&desk, mac)? {
        bail!(
            "no group says who {mac} is, and no board has reported with this address; next: gild node add {} --mac {mac} --name ... first, \
             or correct the MAC",
            args.folder.display()
        );
    }
    desk.post("/door", &json!({"mac": mac.to_string(), "open": open}))?;
    if open {
        log::info!(
            "the door of {mac} is open: until the node has joined, and for 12 hours at most, anyone who asks with this address gets its \
             token"
        );
    } else {
        log::info!(
            "the door of {mac} is closed, for the node and for its card too, until you open it"
        );
    }
    if !has_group {
        log::warn!(
            "no group says who {mac} is, so there is no token to give; next: gild node add {} --mac {mac} --name ...",
            args.folder.display()
        );
    }
    Ok(())
}

/// Whether the desk shows a board with this address.
fn knows(desk: &Desk, mac: Mac) -> Result<bool> {
    let rack: Rack = serde_json::from_value(desk.get("/rack.json")?)
        .context("the desk is of another version; next: start it again with this program")?;
    let mac = mac.to_string();
    let mut nodes = rack.nodes.iter();
    Ok(nodes.any(|node| node.mac == mac || node.other_macs.contains(&mac)))
}
