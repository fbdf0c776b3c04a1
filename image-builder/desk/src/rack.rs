//! What is known of every board: what happened, folded into one picture.

mod door;
mod node;
mod starts;

use std::collections::BTreeMap;

use gild_boards::mac::Mac;
use gild_report::{Kind, Report};
use serde::{Deserialize, Serialize};

pub use door::{Door, Opened};
pub use node::{Event, Node};
use starts::Starts;

/// Boards that nobody vouches for: more of them are not kept, because anybody in the network can invent one.
const MOST_STRANGERS: usize = 256;

/// Who stands behind a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// One of the site's cards has signed it.
    Card,
    /// A node that was given its token has sent it.
    Node,
    /// Anybody.
    Nobody,
}

/// A report cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It names no board.
    #[error("the report has no `mac` that is a MAC address")]
    NoMac,
    /// It was seen before.
    #[error("a later report of this board is known already")]
    Old,
    /// Nobody vouches for it, and there are many such already.
    #[error("there are too many boards already that no card of this site has reported")]
    TooMany,
}

/// Something that happened. The journal is a list of these, and the rack is what they make. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Happened {
    /// A board has reported.
    Reported {
        /// When.
        at: u64,
        /// Who stands behind it.
        trust: Trust,
        /// The report.
        report: Box<Report>,
    },
    /// The operator has opened or closed the door for a node.
    Decided {
        /// When.
        at: u64,
        /// The node.
        mac: String,
        /// Open or closed.
        open: bool,
    },
    /// A node was given its token.
    Released {
        /// When.
        at: u64,
        /// The node.
        mac: String,
        /// The SHA-256 of the proof that this token makes.
        proof: String,
    },
    /// A node as it was when the journal was made short.
    Kept {
        /// The node.
        node: Box<Node>,
    },
}

/// All boards.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rack {
    nodes: BTreeMap<Mac, Node>,
}

impl Rack {
    /// The nodes in the order of their MAC addresses.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// The node with this address. Those of a board's other interfaces lead to it too.
    #[must_use]
    pub fn node(&self, mac: Mac) -> Option<&Node> {
        self.nodes.get(&self.known_as(mac))
    }

    /// Whom a report is about, if it can be taken.
    pub fn accepts(&self, report: &Report, trust: Trust) -> Result<Mac, Refused> {
        let mac = report.mac.as_deref().and_then(Mac::parse);
        let mac = self.known_as(mac.ok_or(Refused::NoMac)?);
        let is_new = |node: &Node| {
            let starts = &node.starts;
            starts.is_new(report.kind, trust, &report.boot, report.sequence)
        };
        match self.nodes.get(&mac) {
            Some(node) if !is_new(node) => Err(Refused::Old),
            None if trust == Trust::Nobody && self.strangers() >= MOST_STRANGERS => {
                Err(Refused::TooMany)
            }
            _ => Ok(mac),
        }
    }

    /// Whether a report must be kept before it counts. How far a flash has come is not, because the next report says it again; nor is
    /// what nobody vouches for, because it would fill the disk.
    #[must_use]
    pub fn must_keep(&self, report: &Report, trust: Trust) -> bool {
        let Some(mac) = report.mac.as_deref().and_then(Mac::parse) else {
            return false;
        };
        let says_more = |node: &Node| {
            report.kind != Kind::Progress
                || node.stage != report.stage
                || node.fault != report.fault
        };
        trust != Trust::Nobody && self.node(mac).is_none_or(says_more)
    }

    /// Takes in what happened, and says whom it is about.
    pub fn apply(&mut self, happened: &Happened) -> Option<Mac> {
        let mac = match happened {
            Happened::Reported { trust, report, .. } => self.accepts(report, *trust).ok()?,
            Happened::Decided { mac, .. } | Happened::Released { mac, .. } => Mac::parse(mac)?,
            Happened::Kept { node } => Mac::parse(&node.mac)?,
        };
        let mac = self.known_as(mac);
        let node = self.nodes.entry(mac).or_insert_with(|| Node::new(mac));
        match happened {
            Happened::Reported { at, trust, report } => node.reported(*at, *trust, report),
            Happened::Decided { at, open, .. } => node.decided(*at, *open),
            Happened::Released { at, proof, .. } => node.released(*at, proof),
            Happened::Kept { node: kept } => node.clone_from(kept),
        }
        let others: Vec<_> = node
            .other_macs
            .iter()
            .filter_map(|mac| Mac::parse(mac))
            .collect();
        // What a stranger has said under one of this board's addresses is not another board.
        for other in others {
            let is_stranger = self.nodes.get(&other).is_some_and(Node::is_stranger);
            if other != mac && is_stranger {
                self.nodes.remove(&other);
            }
        }
        Some(mac)
    }

    /// The same picture as the shortest list of what happened.
    pub fn in_short(&self) -> impl Iterator<Item = Happened> {
        self.nodes.values().map(|node| Happened::Kept {
            node: Box::new(node.clone()),
        })
    }

    fn strangers(&self) -> usize {
        self.nodes
            .values()
            .filter(|node| node.is_stranger())
            .count()
    }

    /// The address by which a board is known. Only what a card has signed says that two addresses are one board's.
    fn known_as(&self, mac: Mac) -> Mac {
        if self.nodes.contains_key(&mac) {
            return mac;
        }
        let text = mac.to_string();
        let mut all = self.nodes.iter();
        let known = all.find(|(_, node)| node.other_macs.contains(&text));
        known.map_or(mac, |(known, _)| *known)
    }
}
