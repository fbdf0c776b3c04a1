//! What the desk knows of every board: all that happened, combined into one picture.

mod audit;
mod cut;
mod door;
mod given;
mod handed;
mod node;
mod starts;
mod unite;

use std::collections::BTreeMap;
use std::sync::Arc;

use gild_boards::mac::Mac;
use gild_report::Report;
use serde::{Deserialize, Serialize};

pub use audit::{Act, Audit};
pub use cut::cut;
pub use door::{CLOSED, Door, Opened};
use given::Given;
pub use handed::{Handed, Orders};
pub use node::{Event, Node};
use starts::{Starts, is_boot};

/// The desk keeps at most this many boards that nobody vouches for, because anybody in the network can invent one.
const MOST_STRANGERS: usize = 256;

/// Who stands behind a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// One of the site's cards has signed it.
    Card,
    /// The node that the desk knows by its secret has sent it.
    Node,
    /// Anybody.
    Nobody,
}

/// A report cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has no MAC address.
    #[error("the report has no `mac` that is a MAC address")]
    NoMac,
    /// It does not say which start of the board it is about.
    #[error("the report's `boot` is not 1 to 32 letters, digits and hyphens")]
    NoBoot,
    /// The desk has seen it before.
    #[error("a later report of this board is known already")]
    Old,
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
        /// To which address in the network.
        to: String,
    },
    /// A node has shown a secret through its open door, and is known by it from now on.
    Proved {
        /// When.
        at: u64,
        /// The node.
        mac: String,
        /// The SHA-256 of its proof.
        proof: String,
    },
    /// A node was handed a signed order.
    Handed {
        /// When.
        at: u64,
        /// The node.
        mac: String,
        /// The order's id.
        order: String,
    },
    /// Somebody who had the login has done something.
    Acted {
        /// When, from where, what.
        #[serde(flatten)]
        act: Act,
    },
    /// A node as it was when the journal was made short.
    Kept {
        /// The node.
        node: Box<Node>,
    },
}

impl Happened {
    /// Whether this makes a board known: a card, the node itself or the operator stands behind it.
    fn makes_known(&self) -> bool {
        !matches!(
            self,
            Self::Reported {
                trust: Trust::Nobody,
                ..
            }
        )
    }
}

/// All boards. A copy is cheap: it shares every node with the original until that node changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rack {
    nodes: BTreeMap<Mac, Arc<Node>>,
    audit: Arc<Audit>,
}

impl Rack {
    /// The nodes in the order of their MAC addresses.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().map(|node| &**node)
    }

    /// How many boards there are for which somebody vouches.
    #[must_use]
    pub fn known(&self) -> usize {
        self.nodes().filter(|node| !node.is_stranger()).count()
    }

    /// What was done with the login.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// The node with this address, which may also be that of one of its other interfaces.
    #[must_use]
    pub fn node(&self, mac: Mac) -> Option<&Node> {
        self.nodes.get(&self.known_as(mac)).map(|node| &**node)
    }

    /// The address of the board that a report is about, if the rack accepts the report.
    pub fn accepts(&self, report: &Report, trust: Trust) -> Result<Mac, Refused> {
        let mac = report.mac.as_deref().and_then(Mac::parse);
        let mac = self.known_as(mac.ok_or(Refused::NoMac)?);
        if !is_boot(&report.boot) {
            return Err(Refused::NoBoot);
        }
        let is_new = |node: &Node| {
            let starts = &node.starts;
            starts.is_new(report.kind, trust, &report.boot, report.sequence)
        };
        match self.nodes.get(&mac) {
            Some(node) if !is_new(node) => Err(Refused::Old),
            _ => Ok(mac),
        }
    }

    /// Whether this must be on the disk before it takes effect. A stranger's report is never written down, because strangers could fill the
    /// disk.
    #[must_use]
    pub fn must_keep(&self, happened: &Happened) -> bool {
        match happened {
            Happened::Reported {
                trust: Trust::Nobody,
                ..
            } => false,
            Happened::Reported { report, .. } => {
                let Some(mac) = report.mac.as_deref().and_then(Mac::parse) else {
                    return false;
                };
                let mut after = self.only(self.known_as(mac), report);
                let before = after.node(mac).cloned();
                after.apply(happened);
                after
                    .node(mac)
                    .is_some_and(|node| node.says_more_than(before.as_ref()))
            }
            _ => true,
        }
    }

    /// Takes in what happened, and says whom it is about.
    pub fn apply(&mut self, happened: &Happened) -> Option<Mac> {
        let mac = match happened {
            Happened::Reported { trust, report, .. } => self.accepts(report, *trust).ok()?,
            Happened::Decided { mac, .. }
            | Happened::Released { mac, .. }
            | Happened::Proved { mac, .. }
            | Happened::Handed { mac, .. } => self.known_as(Mac::parse(mac)?),
            Happened::Acted { act } => {
                Arc::make_mut(&mut self.audit).add(act.clone());
                return None;
            }
            Happened::Kept { node } => {
                let mac = Mac::parse(&node.mac)?;
                self.nodes.insert(mac, Arc::new((**node).clone()));
                return Some(mac);
            }
        };
        let node = self.entry(mac);
        if happened.makes_known() && node.is_stranger() {
            // The board is known from now on. Nothing that a stranger has said about it is kept.
            *node = Node::new(mac);
        }
        let mut is_barred = false;
        if let Happened::Reported { trust, report, .. } = happened
            && *trust == Trust::Card
        {
            // A late receipt names the addresses that the board had at that time, so it does not count here.
            if node.is_present(*trust, report) {
                self.unite(mac, report);
            }
            is_barred = self.is_barred(mac, report);
        }
        let node = self.entry(mac);
        match happened {
            Happened::Reported { at, trust, report } => {
                node.reported(*at, *trust, report, is_barred);
            }
            Happened::Decided { at, open, .. } => node.decided(*at, *open),
            Happened::Released { at, to, .. } => node.released(*at, to),
            Happened::Proved { at, proof, .. } => node.proved(*at, proof),
            Happened::Handed { at, order, .. } => node.handed(*at, order),
            Happened::Acted { .. } | Happened::Kept { .. } => (),
        }
        self.forget_strangers();
        Some(mac)
    }

    fn entry(&mut self, mac: Mac) -> &mut Node {
        let new = || Arc::new(Node::new(mac));
        Arc::make_mut(self.nodes.entry(mac).or_insert_with(new))
    }

    /// If there are too many strangers, the desk forgets the one that it heard from the longest time ago.
    fn forget_strangers(&mut self) {
        let strangers = || self.nodes.iter().filter(|(_, node)| node.is_stranger());
        if strangers().count() <= MOST_STRANGERS {
            return;
        }
        let oldest = strangers().min_by_key(|(_, node)| node.heard);
        if let Some(mac) = oldest.map(|(mac, _)| *mac) {
            self.nodes.remove(&mac);
        }
    }

    /// The shortest list of events that gives the same picture.
    pub fn in_short(&self) -> impl Iterator<Item = Happened> {
        let acts = self.audit.acts().iter();
        let acts = acts.map(|act| Happened::Acted { act: act.clone() });
        let known = self.nodes().filter(|node| !node.is_stranger());
        let known = known.map(|node| Happened::Kept {
            node: Box::new(node.clone()),
        });
        acts.chain(known)
    }

    /// The address by which the desk knows a board. Only a card's signature can prove that two addresses are of one board.
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
