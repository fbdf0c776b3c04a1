//! What a node was ordered, and what it made of it.

use gild_orders::OrderId;
use gild_report::Report;
use serde::{Deserialize, Serialize};

use super::Trust;
use crate::orders::latest_id;

/// So many orders of a node are remembered, the latest ones.
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
    /// When the node joined with it or with a later one.
    pub joined: Option<u64>,
    /// The image that the node ran then.
    pub image_id: Option<String>,
    /// The first fault that the board has shown since, and when.
    pub fault: Option<(u64, u8)>,
    /// Why the node does not carry it out.
    pub refused: Option<String>,
}

/// What a node was ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Orders {
    /// The latest last.
    handed: Vec<Handed>,
    /// The latest order with which it has joined.
    done: Option<String>,
}

impl Orders {
    /// Whether nothing was ever ordered.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.handed.is_empty() && self.done.is_none()
    }

    /// What is known of this order, if it was handed out.
    #[must_use]
    pub fn get(&self, id: &OrderId) -> Option<&Handed> {
        self.handed.iter().find(|handed| handed.id == id.as_str())
    }

    /// The latest order with which the node has joined: its disk is done with this one and all before.
    #[must_use]
    pub fn done(&self) -> Option<OrderId> {
        OrderId::parse(self.done.as_deref()?)
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

    /// Takes in a report that somebody vouches for. The image is the one that the node runs, as far as it is known.
    pub(super) fn reported(&mut self, at: u64, trust: Trust, report: &Report, image: Option<&str>) {
        let named = report.order.as_deref().and_then(OrderId::parse);
        // A board that names an order of years to come would be done with everything until then.
        let named = named.filter(|named| Some(named) <= latest_id(at).as_ref());
        let has_joined = trust == Trust::Node && report.stage.as_deref() == Some(JOINED);
        if let Some(named) = named.as_ref().filter(|_| has_joined)
            && self.done().is_none_or(|done| done < *named)
        {
            self.done = Some(named.to_string());
        }
        for handed in &mut self.handed {
            let Some(id) = OrderId::parse(&handed.id) else {
                continue;
            };
            if named.as_ref() == Some(&id) {
                handed.named.get_or_insert(at);
            }
            let is_done = has_joined && named.as_ref().is_some_and(|named| *named >= id);
            if is_done && handed.joined.is_none() {
                handed.joined = Some(at);
                handed.image_id = image.map(str::to_owned);
                handed.refused = None;
            }
            if handed.joined.is_some() {
                continue;
            }
            if let Some(fault) = report.fault {
                handed.fault.get_or_insert((at, fault));
            }
            // Who refuses an order names it.
            let said = report.message.as_deref().unwrap_or_default();
            if said.contains(id.as_str()) {
                handed.refused = Some(said.to_owned());
            }
        }
    }

    /// Takes over what another node was ordered, which has turned out to be the same board.
    pub(super) fn absorb(&mut self, other: &Self) {
        for handed in &other.handed {
            if !self.handed.iter().any(|own| own.id == handed.id) {
                self.handed.push(handed.clone());
            }
        }
        self.handed.sort_by_key(|handed| handed.at);
        self.bound();
        if self.done() < other.done() {
            self.done.clone_from(&other.done);
        }
    }

    fn bound(&mut self) {
        let old = self.handed.len().saturating_sub(MOST);
        self.handed.drain(..old);
    }
}
