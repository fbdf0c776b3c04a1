//! `gild node open` and `close`: the door of a node on the desk that runs.

use std::path::PathBuf;

use anyhow::Result;
use gild_desk::folder::Folder;
use gild_desk::metadata::Groups;
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

/// Opens or closes the door of a node.
pub fn run(args: &Args, open: bool) -> Result<()> {
    let folder = Folder::open(&args.folder)?;
    let mac = mac(&args.mac)?;
    let has_group = Groups::read(folder.path()).has(&mac.to_string());
    Desk::of(&folder)?.post("/door", &json!({"mac": mac.to_string(), "open": open}))?;
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
