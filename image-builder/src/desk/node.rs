//! `gild node`: who the boards are, and what the running desk knows of them.

mod add;
mod door;
mod groups;
mod list;
mod table;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use gild_boards::mac::Mac;

/// Add nodes to a desk, list them, open and close their doors
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say who boards are by their MAC addresses: write groups of Matchbox's form into the desk's folder
    Add(add::Args),
    /// List the nodes that the running desk knows, and those that it has not heard yet
    List(list::Args),
    /// Open the door of a node on the running desk: until it has joined, anyone who asks with its MAC address gets its token
    Open(door::Args),
    /// Close the door of a node on the running desk, for the node and for its card too, until you open it
    Close(door::Args),
}

/// Runs `gild node`.
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Add(args) => add::run(&args),
        Command::List(args) => list::run(&args),
        Command::Open(args) => door::run(&args, true),
        Command::Close(args) => door::run(&args, false),
    }
}

/// The MAC address in a text that the operator gave.
fn mac(text: &str) -> Result<Mac> {
    let mac = Mac::of_person(text).with_context(|| {
        format!("`{text}` is not a MAC address; next: write it as d8:3a:dd:01:02:03")
    })?;
    ensure!(
        mac.is_of_one_interface(),
        "{mac} is the address of no board: it stands for none or for many; next: give the one on the board's box"
    );
    Ok(mac)
}
