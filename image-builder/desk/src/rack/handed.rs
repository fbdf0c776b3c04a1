//! The orders that a node was given, and how far it has come with each.

use gild_orders::OrderId;
use gild_report::Report;
use serde::{Deserialize, Serialize};

use super::Trust;
use crate::orders::latest_id;

/// At most this many orders of a node are remembered, the latest ones.
const MOST: usize = 16;
const JOINED: &str = "joined";

/// One signed order that was handed to a node. Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Handed {
    /// Its id.
    pub id: String,
    /// When it was handed out first.
    pub at: u64,
    /// When a report named it first.
    pub named: Option<u64>,
    /// When the node joined with this order or a later one, after a card had written the disk by that order.
    pub joined: Option<u64>,
    /// The image that the node ran then.
    pub image_id: Option<String>,
    /// The first fault that the board has shown since, and when.
    pub fault: Option<(u64, u8)>,
    /// Why the board refuses it. Empty again once its card writes the disk by it.
    pub refused: Option<String>,
}

/// What a node was ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Orders {
    /// The latest last.
    handed: Vec<Handed>,
    /// The latest order by which a card has reported that it writes the disk.
    written: Option<String>,
    /// The latest order with which it has joined afterwards.
    done: Option<String>,
}

impl Orders {
    /// Whether nothing was ever ordered.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.handed.is_empty() && self.written.is_none() && self.done.is_none()
    }

    /// What is known of this order, if it was handed out.
    #[must_use]
    pub fn get(&self, id: &OrderId) -> Option<&Handed> {
        self.handed.iter().find(|handed| handed.id == id.as_str())
    }

    /// The latest order with which a card has written the disk and the node has joined afterwards. The disk accepts neither this order nor
    /// an earlier one again. The node's word alone is not enough: it notes an order before it makes its disk blank, and that may fail.
    #[must_use]
    pub fn done(&self) -> Option<OrderId> {
        OrderId::parse(self.done.as_deref()?)
    }

    fn written(&self) -> Option<OrderId> {
        OrderId::parse(self.written.as_deref()?)
    }

    /// Notes that an order was handed out.
    pub(super) fn hand(&mut self, id: &str, at: u64) {
        if self.handed.iter().any(|handed| handed.id == id) {
            return;
        }
        self.handed.push(Handed {
            id: id.to_owned(),
            at,
            ..Handed::default()
        });
        self.bound();
    }

    /// Takes in a report that somebody vouches for. `image` is the image that the node runs, as far as the desk knows it.
    pub(super) fn reported(&mut self, at: u64, trust: Trust, report: &Report, image: Option<&str>) {
        let named = report.order.as_deref().and_then(OrderId::parse);
        // If a board named an order from years ahead, all orders until then would seem done.
        let named = named.filter(|named| Some(named) <= latest_id(at).as_ref());
        let is_written = trust == Trust::Card && super::node::is_being_flashed(report);
        let written = named.as_ref().filter(|_| is_written);
        if let Some(written) = written
            && self.written() < Some(written.clone())
        {
            self.written = Some(written.to_string());
        }
        let has_joined = trust == Trust::Node && report.stage.as_deref() == Some(JOINED);
        let done = named.as_ref().filter(|_| has_joined);
        let done = done.filter(|done| self.written().as_ref() == Some(done));
        if let Some(done) = done
            && self.done() < Some(done.clone())
        {
            self.done = Some(done.to_string());
        }
        for handed in &mut self.handed {
            let Some(id) = OrderId::parse(&handed.id) else {
                continue;
            };
            if named.as_ref() == Some(&id) {
                handed.named.get_or_insert(at);
            }
            if written == Some(&id) {
                handed.refused = None;
            }
            let is_done = done.is_some_and(|done| *done >= id);
            if is_done && handed.joined.is_none() {
                handed.joined = Some(at);
                handed.image_id = image.map(str::to_owned);
            }
            if handed.joined.is_some() {
                continue;
            }
            if let Some(fault) = report.fault {
                handed.fault.get_or_insert((at, fault));
            }
            // A board that refuses an order names it in the message.
            let said = report.message.as_deref().unwrap_or_default();
            if said.contains(id.as_str()) {
                handed.refused = Some(said.to_owned());
            }
        }
    }

    /// Takes over the orders of another node, which has turned out to be the same board.
    pub(super) fn absorb(&mut self, other: &Self) {
        for handed in &other.handed {
            if !self.handed.iter().any(|own| own.id == handed.id) {
                self.handed.push(handed.clone());
            }
        }
        self.handed.sort_by_key(|handed| handed.at);
        self.bound();
        if self.written() < other.written() {
            self.written.clone_from(&other.written);
        }
        if self.done() < other.done() {
            self.done.clone_from(&other.done);
        }
    }

    fn bound(&mut self) {
        let old = self.handed.len().saturating_sub(MOST);
        self.handed.drain(..old);
    }
}
