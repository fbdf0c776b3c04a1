//! Which addresses are one board's. A card says so, and it is believed as far as nobody else has spoken for such an address: who has
//! the key of the cards must not be able to make a board vanish in another one, nor a door that the operator has closed.

use std::sync::Arc;

use gild_boards::mac::Mac;
use gild_report::Report;

use super::cut::MOST_MACS;
use super::{Node, Rack};

impl Rack {
    /// What was known of a board under the further addresses of a report is known under this one from now on. Who has said another number
    /// of a board, or has shown a secret, stays apart, and so does a board whose door the operator has closed.
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
            // An address that is left out would have a door of its own again, which any report opens.
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
    /// Whether it may be the board that sends this report: they have the same number; or this one has none, and nobody has spoken for it.
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
