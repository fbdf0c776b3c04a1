//! Which order a node gets. An answer carries one order, so these rules choose it:
//!
//! 1. The latest hold that counts for the node comes before everything else.
//! 2. Then comes the latest flash that the node has not carried out; a rolling one only when it is the node's turn. Once a later flash is
//!    carried out, the disk refuses earlier ones, so to write those first would be wasted work. While an unreadable order might hold the node,
//!    it gets no flash.
//! 3. An identify comes before a flash if it is the later of the two and the node itself speaks, not its flasher: a flasher that has begun
//!    must find its order again.

use gild_boards::mac::Mac;
use gild_orders::{Action, Order};
use gild_report::Kind;

use super::shelf::Queued;
use super::way::{Step, rolling, step, turn};
use crate::rack::{Node, Rack};

/// What keeps boards from a flash: the holds that count, and unreadable orders that may be holds.
pub struct Holds<'a> {
    sure: Vec<(&'a Order, &'a str)>,
    unreadable: Vec<&'a Queued>,
    now: u64,
}

impl<'a> Holds<'a> {
    /// Those of all orders.
    pub fn of(queue: &'a [Queued], now: u64) -> Self {
        let sure = queue.iter().filter_map(|queued| queued.counts(now));
        let unreadable = queue.iter().filter(|queued| queued.is_unreadable());
        Self {
            sure: sure
                .filter(|(order, _)| order.action == Action::Hold)
                .collect(),
            unreadable: unreadable.collect(),
            now,
        }
    }

    /// Why the board with this address gets no flash, as the end of a sentence.
    pub fn reason(&self, mac: Mac, node: Option<&Node>) -> Option<String> {
        let macs = addresses(mac, node);
        let held = self.hold(&macs);
        let held = held.map(|(order, _)| format!("the order {} holds it", order.id));
        held.or_else(|| {
            let queued = self.may_hold(&macs)?;
            Some(format!(
                "the order {} cannot be read and may hold it",
                queued.id
            ))
        })
    }

    /// The latest hold for a board with these addresses, and the text that it gets.
    fn hold(&self, macs: &[Mac]) -> Option<(&'a Order, &'a str)> {
        let mut latest_first = self.sure.iter().rev();
        latest_first.find(|(order, _)| order.is_for(macs)).copied()
    }

    fn may_hold(&self, macs: &[Mac]) -> Option<&'a Queued> {
        let mut unreadable = self.unreadable.iter();
        unreadable
            .find(|queued| queued.may_hold(macs, self.now))
            .copied()
    }
}

/// The order for the node with this address, and the text that it gets.
#[must_use]
pub fn for_node<'a>(
    queue: &'a [Queued],
    rack: &Rack,
    mac: Mac,
    now: u64,
) -> Option<(&'a Order, &'a str)> {
    let node = rack.node(mac);
    let macs = addresses(mac, node);
    let mut flash = None;
    let mut identify = None;
    let holds = Holds::of(queue, now);
    // The oldest come first, so the latest one is kept at the end.
    for counts in queue.iter().filter_map(|queued| queued.counts(now)) {
        let order = counts.0;
        if !order.is_for(&macs) {
            continue;
        }
        match order.action {
            Action::Identify => identify = Some(counts),
            // A flasher that has begun would still write the blank disk, but with another image.
            Action::Flash(_) if holds.may_hold(&macs).is_some() && !has_begun(order, node) => {}
            Action::Flash(_) if is_open(order, rack, node, &macs, now) => flash = Some(counts),
            Action::Flash(_) | Action::Hold => {}
        }
    }
    let is_later = |identify: &(&Order, &str)| {
        let speaks = node.is_some_and(|node| node.kind == Kind::Node);
        flash.is_none_or(|(flash, _)| speaks && identify.0.id > flash.id)
    };
    holds.hold(&macs).or(identify.filter(is_later)).or(flash)
}

/// Whether the node is still to carry out this flash, and may do so now.
fn is_open(order: &Order, rack: &Rack, node: Option<&Node>, macs: &[Mac], now: u64) -> bool {
    if matches!(step(order, node), Step::Done { .. } | Step::Overtaken) {
        return false;
    }
    // A node that has the order keeps it, even after the order has stopped: its disk may be blank already, and would get another image.
    let has_it = node.is_some_and(|node| node.orders.get(&order.id).is_some());
    rolling(order).is_none()
        || has_it
        || turn(order, rack, now).is_some_and(|mac| macs.contains(&mac))
}

/// Whether the board's flasher says that it writes the disk by this order.
fn has_begun(order: &Order, node: Option<&Node>) -> bool {
    let speaks = node.is_some_and(|node| node.kind != Kind::Node);
    speaks && matches!(step(order, node), Step::Begun { .. })
}

/// The addresses of a board, as far as its card has signed them.
fn addresses(mac: Mac, node: Option<&Node>) -> Vec<Mac> {
    let own = node.into_iter().flat_map(Node::macs);
    let own = own.filter_map(|mac| Mac::parse(mac));
    std::iter::once(mac).chain(own).collect()
}
