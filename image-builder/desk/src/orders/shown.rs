//! Orders and their progress, for people and programs. None of it is secret: anyone who reaches the desk can fetch every signed order.

use std::collections::BTreeMap;

use gild_boards::mac::Mac;
use gild_orders::{Action, Choice, Order};
use serde::Serialize;

use super::hand::Holds;
use super::shelf::{Queued, Standing};
use super::way::{Step, Stop, rolling, step, stop, turn};
use super::words::acts;
use crate::rack::{Node, Rack};

/// One order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderShown {
    /// Its id.
    pub id: String,
    /// `queued`, `signed`, `done`, `stopped`, `expired` or `wrong`.
    pub state: &'static str,
    /// Why it has stopped, or what is wrong.
    pub why: Option<String>,
    /// `flash`, `hold` or `identify`.
    pub action: Option<&'static str>,
    /// What its nodes do, in words.
    pub says: Option<String>,
    /// The image that it names.
    pub image: Option<String>,
    /// The channel that it names.
    pub channel: Option<String>,
    /// Whether it reaches one node after the other.
    pub rolling: bool,
    /// When it expires, seconds since 1970.
    pub expires: Option<u64>,
    /// Its nodes in its order.
    pub nodes: Vec<NodeShown>,
}

/// One node of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeShown {
    /// Its address in the order.
    pub mac: String,
    /// Its name, or else its address.
    pub name: String,
    /// `queued`, `waits`, `next`, `handed`, `begun`, `refused`, `fault`, `done`, `overtaken` or `not-reached`.
    pub state: &'static str,
    /// Since when, seconds since 1970.
    pub at: Option<u64>,
    /// Why the node does not carry it out, or does not get it yet.
    pub why: Option<String>,
}

/// What a board is ordered, in one line of the rack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OfNode {
    id: String,
    action: Option<&'static str>,
    state: &'static str,
    why: Option<String>,
}

/// All orders, the latest first.
#[must_use]
pub fn for_page(
    queue: &[Queued],
    rack: &Rack,
    now: u64,
    name: impl Fn(Mac) -> Option<String>,
) -> Vec<OrderShown> {
    let holds = Holds::of(queue, now);
    let latest_first = queue.iter().rev();
    latest_first
        .map(|queued| shown(queued, rack, &holds, now, &name))
        .collect()
}

/// What each board is ordered at present: the latest order for it that is still a draft or counts.
#[must_use]
pub fn of_node(orders: &[OrderShown], rack: &Rack) -> BTreeMap<Mac, OfNode> {
    let mut all = BTreeMap::new();
    let open = orders.iter().filter(|order| order.state != "wrong");
    for order in open.filter(|order| order.state != "expired") {
        for node in &order.nodes {
            let known = Mac::parse(&node.mac).and_then(|mac| rack.node(mac));
            let Some(mac) = known.and_then(|node| Mac::parse(&node.mac)) else {
                continue;
            };
            all.entry(mac).or_insert_with(|| OfNode {
                id: order.id.clone(),
                action: order.action,
                state: node.state,
                why: node.why.clone(),
            });
        }
    }
    all
}

fn shown(
    queued: &Queued,
    rack: &Rack,
    holds: &Holds<'_>,
    now: u64,
    name: &impl Fn(Mac) -> Option<String>,
) -> OrderShown {
    let order = queued.order.as_ref();
    let is_signed = matches!(queued.standing, Standing::Signed(_));
    let stop = order
        .filter(|_| is_signed)
        .and_then(|order| stop(order, rack, now));
    let nodes: Vec<NodeShown> = order.map_or_else(Vec::new, |order| {
        let way = Way {
            order,
            is_signed,
            holds,
            stop: stop.as_ref(),
            turn: rolling(order).and_then(|_| turn(order, rack, now)),
        };
        let of = |mac: &Mac| way.node(*mac, rack.node(*mac), name);
        order.nodes.iter().map(of).collect()
    });
    let ends = |node: &NodeShown| matches!(node.state, "done" | "overtaken");
    let is_done = !nodes.is_empty() && nodes.iter().all(ends);
    let (state, why) = match (&queued.standing, order) {
        (Standing::Wrong(why), _) => ("wrong", Some(why.clone())),
        (Standing::Unreadable(why), _) => ("wrong", Some(unreadable(queued, why, now))),
        (_, Some(_)) if is_done => ("done", None),
        (_, Some(order)) if !order.counts_at(now) => ("expired", None),
        (Standing::Draft, _) => ("queued", None),
        (Standing::Signed(_), _) => match &stop {
            Some(stop) => ("stopped", Some(in_words(stop, name))),
            None => ("signed", None),
        },
    };
    let flash = order.and_then(|order| match &order.action {
        Action::Flash(flash) => Some(flash),
        _ => None,
    });
    let (image, channel) = match flash.map(|flash| &flash.choice) {
        Some(Choice::Image(image)) => (Some(image.to_string()), None),
        Some(Choice::Channel(channel)) => (None, Some(channel.as_str().to_owned())),
        _ => (None, None),
    };
    OrderShown {
        id: queued.id.to_string(),
        state,
        why,
        action: order.map(|order| action(&order.action)),
        says: order.map(|order| acts(&order.action)),
        image,
        channel,
        rolling: flash.is_some_and(|flash| flash.rolling),
        expires: order.map(|order| order.expires),
        nodes,
    }
}

/// Explains what is wrong with an order that may be a hold.
fn unreadable(queued: &Queued, why: &str, now: u64) -> String {
    let whom = match &queued.order {
        Some(order) if order.nodes.iter().any(|mac| queued.may_hold(&[*mac], now)) => {
            "its boards get"
        }
        None if queued.may_hold(&[], now) => "no board gets",
        _ => return why.to_owned(),
    };
    let none = if queued.order.is_some() { "no" } else { "an" };
    format!(
        "{why}; it may be a hold, so that {whom} {none} order to flash; next: copy it there again, or take it back with `gild order cancel`"
    )
}

/// With the node's name instead of its address.
fn in_words(stop: &Stop, name: &impl Fn(Mac) -> Option<String>) -> String {
    let mac = stop.node();
    let named = name(mac).unwrap_or_else(|| mac.to_string());
    stop.to_string().replacen(&mac.to_string(), &named, 1)
}

/// Used where the node's name already stands beside it.
fn in_its_words(stop: &Stop) -> String {
    let whole = stop.to_string();
    let rest = whole.strip_prefix(&stop.node().to_string());
    format!("it{}", rest.unwrap_or(&whole))
}

const fn action(action: &Action) -> &'static str {
    match action {
        Action::Flash(_) => "flash",
        Action::Hold => "hold",
        Action::Identify => "identify",
    }
}

/// An order on its way to its nodes.
struct Way<'a> {
    order: &'a Order,
    is_signed: bool,
    holds: &'a Holds<'a>,
    stop: Option<&'a Stop>,
    turn: Option<Mac>,
}

impl Way<'_> {
    fn node(
        &self,
        mac: Mac,
        node: Option<&Node>,
        name: &impl Fn(Mac) -> Option<String>,
    ) -> NodeShown {
        let step = step(self.order, node);
        let stopped_here = self.stop.filter(|stop| stop.node() == mac);
        let (state, at, why) = match step {
            Step::Refused { at, why } => ("refused", Some(at), Some(why)),
            _ if stopped_here.is_some() => ("fault", None, stopped_here.map(in_its_words)),
            Step::Waits if !self.is_signed => ("queued", None, None),
            Step::Waits if self.stop.is_some() => ("not-reached", None, None),
            Step::Waits if self.turn == Some(mac) => ("next", None, self.held(mac, node)),
            Step::Waits => ("waits", None, self.held(mac, node)),
            Step::Handed {
                at,
                fault: Some(fault),
            }
            | Step::Begun {
                at,
                fault: Some(fault),
            } => ("fault", Some(at), Some(format!("fault {fault}"))),
            Step::Handed { at, .. } => ("handed", Some(at), self.held(mac, node)),
            Step::Begun { at, .. } => ("begun", Some(at), None),
            Step::Done { at } => ("done", at, None),
            Step::Overtaken => ("overtaken", None, None),
        };
        // A stranger may report any name, so its name does not count. Only a board without a name is looked up in the groups, because that
        // takes long.
        let known = node.filter(|node| !node.is_stranger());
        let named = known.and_then(|node| node.hostname.clone());
        let named = named.or_else(|| name(mac));
        NodeShown {
            mac: mac.to_string(),
            name: named.unwrap_or_else(|| mac.to_string()),
            state,
            at,
            why,
        }
    }
    /// Why a flash does not reach the board yet.
    fn held(&self, mac: Mac, node: Option<&Node>) -> Option<String> {
        let is_flash = matches!(self.order.action, Action::Flash(_));
        is_flash.then(|| self.holds.reason(mac, node)).flatten()
    }
}
