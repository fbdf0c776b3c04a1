//! `gild order new`: queues a draft in a desk's folder.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use gild_boards::Board;
use gild_boards::mac::Mac;
use gild_desk::desk::{is_known, now};
use gild_desk::orders::{Keys, Offered, Wish, addresses, for_page};
use gild_desk::rack::{Node, Rack};
use gild_orders::Order;

use super::rack::Desk;
use crate::board;

/// Arguments of `gild order new`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that `gild init` made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// What the boards do
    #[arg(long)]
    action: Action,
    /// Board that is meant, by its name or its MAC address; several times for several, a canary first
    #[arg(
        long,
        value_name = "NAME|MAC",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    node: Vec<String>,
    /// Name each board of this kind that the desk knows, in the order of their names
    #[arg(long, requires = "board")]
    all: bool,
    /// Kind of the boards that `--all` names
    #[arg(long, value_parser = board::Named, requires = "all")]
    board: Option<&'static Board>,
    /// Id of the image that is written [default: the board's current one at that time]
    #[arg(long, value_name = "IMAGE", conflicts_with = "channel")]
    image: Option<String>,
    /// Channel whose image is written: `canary` for that of `gild image current --channel canary`
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Serial number of the disk; a board with another disk does nothing
    #[arg(long, value_name = "SERIAL")]
    disk: Option<String>,
    /// Discard everything on the disk first, also what is right already
    #[arg(long)]
    erase: bool,
    /// Write one board after the other: the next one when the one before has joined
    #[arg(long)]
    rolling: bool,
    /// Hours in which the order counts, 1 to 336 [default: 24, and 1 for `identify`]
    #[arg(long, value_name = "N")]
    hours: Option<u64>,
}

/// What boards do.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Action {
    /// Write the disk again: all data on it is lost
    Flash,
    /// Do not write the disk as long as the order counts
    Hold,
    /// Show with the LED which board it is
    Identify,
}

/// Runs `gild order new`.
pub fn run(args: &Args) -> Result<()> {
    let desk = Desk::open(&args.folder)?;
    let nodes = match args.board {
        Some(board) => all(&desk, board)?,
        None => args
            .node
            .iter()
            .map(|node| named(&desk, node))
            .collect::<Result<_>>()?,
    };
    let wish = Wish {
        action: match args.action {
            Action::Flash => "flash",
            Action::Hold => "hold",
            Action::Identify => "identify",
        }
        .to_owned(),
        nodes: nodes.iter().map(Mac::to_string).collect(),
        image: args.image.clone(),
        channel: args.channel.clone(),
        disk: args.disk.clone(),
        erase: args.erase,
        rolling: args.rolling,
        hours: args.hours,
    };
    let shelf = desk.shelf();
    let order = shelf.plan(&wish, now(), Keys::read(&desk.folder).as_ref())?;
    let offered = Offered::read(&desk.folder.images());
    let rack = desk.rack()?;
    offered.check(&order, &rack)?;
    if let Some(unseen) = offered.unseen(&order, &rack) {
        log::warn!("{unseen}");
    }
    if matches!(order.action, gild_orders::Action::Flash(_)) {
        warn_of_earlier(&desk, &rack, &order, &args.folder)?;
    }
    let path = shelf.put(&order)?;
    // A board that nobody vouches for is known to the running desk alone, so that this is not refused.
    for mac in order
        .nodes
        .iter()
        .filter(|mac| !is_known(**mac, &desk.groups, &rack))
    {
        log::warn!(
            "no group says who {mac} is, and the desk has kept no report with this address; next: if that is a slip, take the order back: \
             gild order cancel {} {}",
            args.folder.display(),
            order.id
        );
    }
    log::info!(
        "{} is a draft, and counts when it is signed: gild order sign {}",
        order.id,
        args.folder.display()
    );
    println!("{}", path.display());
    Ok(())
}

/// Warns of each order to flash that the same nodes are still to carry out. They carry out the later one only.
fn warn_of_earlier(desk: &Desk, rack: &Rack, order: &Order, folder: &Path) -> Result<()> {
    for earlier in for_page(&desk.orders()?, rack, now(), |mac| desk.name(mac)) {
        let is_open = matches!(earlier.state, "queued" | "signed" | "stopped");
        if !is_open || earlier.action != Some("flash") {
            continue;
        }
        let both = earlier.nodes.iter().filter(|node| {
            let is_over = matches!(node.state, "done" | "overtaken");
            !is_over && order.is_for(&addresses_of(rack, &node.mac))
        });
        let both: Vec<&str> = both.map(|node| &*node.name).collect();
        if !both.is_empty() {
            log::warn!(
                "the earlier order {} to flash is open for {}, and a node carries out only the latest one that is signed; next: keep one of the two, and take the other back: \
                 gild order cancel {} {}",
                earlier.id,
                both.join(", "),
                folder.display(),
                earlier.id
            );
        }
    }
    Ok(())
}

/// All that the rack knows this board by.
fn addresses_of(rack: &Rack, mac: &str) -> Vec<Mac> {
    let own = Mac::parse(mac);
    let node = own.and_then(|mac| rack.node(mac));
    let macs = node.into_iter().flat_map(Node::macs);
    own.into_iter()
        .chain(macs.filter_map(|mac| Mac::parse(mac)))
        .collect()
}

/// The board with this name or address. The name comes first, because a name may look like an address.
fn named(desk: &Desk, node: &str) -> Result<Mac> {
    let by_name = addresses(&desk.groups, node);
    match (&by_name[..], Mac::of_person(node)) {
        ([], Some(mac)) => Ok(mac),
        ([mac], address) if address.is_none_or(|address| address == *mac) => Ok(*mac),
        ([_], Some(_)) => bail!(
            "{node} is the name of a node, and the address of another board; next: give the board's MAC address with colons, or the node another name"
        ),
        ([], None) => bail!(
            "no file in {} gives the name {node}; next: give a name of `gild node add`, or a MAC address",
            desk.folder.groups().display()
        ),
        (_, _) => bail!(
            "several files in {} give the name {node}; next: give the board's MAC address",
            desk.folder.groups().display()
        ),
    }
}

/// Each board of this kind that the desk knows.
fn all(desk: &Desk, board: &Board) -> Result<Vec<Mac>> {
    let rack = desk.rack()?;
    let nodes = rack.nodes().filter(|node| !node.is_stranger());
    let nodes = nodes.filter(|node| node.board.as_deref() == Some(&board.name));
    let macs = nodes.filter_map(|node| Mac::parse(&node.mac));
    let mut macs: Vec<Mac> = macs.collect();
    macs.sort_by_cached_key(|mac| (desk.name(*mac), *mac));
    ensure!(
        !macs.is_empty(),
        "no {} has reported to this desk; next: name the boards with --node",
        board.name
    );
    Ok(macs)
}
