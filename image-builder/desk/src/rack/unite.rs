//! Which addresses belong to one board. A card says so, and the desk believes it only for an address for which nobody else has spoken.
//! Somebody with the key of the cards must not be able to make a board disappear into another one, nor a door that the operator has closed.

use std::sync::Arc;

use gild_boards::mac::Mac;
use gild_report::Report;

use super::cut::MOST_MACS;
use super::{Node, Rack};

impl Rack {
    /// Moves what is known under the report's further addresses to this board. A board stays separate if it has reported another serial
    /// number, if it has shown a secret, or if the operator has closed its door.
    pub(super) fn unite(&mut self, mac: Mac, report: &Report) {
        let mut own = Vec::new();
        for other in others(mac, report) {
            let owner = self.known_as(other);
            let is_free = match self.nodes.get(&owner) {
                None => true,
                Some(_) if owner == mac => true,
                Some(node) if node.is_stranger() => {
                    self.nodes.remove(&owner);
                    true
                }
                Some(node) if node.may_be_that_of(report) => {
                    if let Some(node) = self.nodes.remove(&owner) {
                        self.entry(mac).absorb(&node);
                    }
                    true
                }
                Some(_) => false,
            };
            if is_free {
                own.push(other.to_string());
            }
        }
        let node = self.entry(mac);
        if node.door.is_closed_by_operator() {
            // If an address were dropped, it would get a door of its own again, and any report could open that.
            let before = std::mem::take(&mut node.other_macs);
            own.retain(|mac| !before.contains(mac));
            node.other_macs = before;
            node.other_macs.append(&mut own);
            node.other_macs.truncate(MOST_MACS - 1);
        } else {
            node.other_macs = own;
        }
    }

    /// Whether the operator has closed the door of one of the addresses that a report names.
    pub(super) fn is_barred(&self, mac: Mac, report: &Report) -> bool {
        let mut all = others(mac, report).into_iter().chain([mac]);
        all.any(|mac| {
            self.node(mac)
                .is_some_and(|node| node.door.is_closed_by_operator())
        })
    }

    /// The nodes that a report can touch.
    pub(super) fn only(&self, mac: Mac, report: &Report) -> Self {
        let macs = others(mac, report).into_iter().chain([mac]);
        let nodes = macs.filter_map(|mac| {
            let known = self.known_as(mac);
            Some((known, Arc::clone(self.nodes.get(&known)?)))
        });
        Self {
            nodes: nodes.collect(),
            ..Self::default()
        }
    }
}

impl Node {
    /// Whether this node may be the board that sends this report. Either both have the same serial number, or this node has none and has
    /// shown no secret.
    fn may_be_that_of(&self, report: &Report) -> bool {
        let is_alike = match &self.serial {
            Some(serial) => report.serial.as_ref() == Some(serial),
            None => self.proof.is_none(),
        };
        is_alike && !self.door.is_closed_by_operator()
    }
}

/// The addresses of a report beside this one, as many as a board can have.
fn others(mac: Mac, report: &Report) -> Vec<Mac> {
    let named = report.mac.iter().chain(&report.other_macs);
    let mut others: Vec<_> = named.filter_map(|mac| Mac::parse(mac)).collect();
    others.truncate(MOST_MACS);
    others.retain(|other| *other != mac);
    others.sort_unstable();
    others.dedup();
    others
}
