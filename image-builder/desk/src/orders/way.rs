//! How far a node is with an order, and whether a rolling order goes on. Both follow from the rack, and the rack follows from the journal.

use gild_boards::mac::Mac;
use gild_orders::{Action, Choice, Flash, Order};

use crate::rack::{Node, Rack};

/// The node whose turn it is must join within this many seconds.
pub const LONGEST_TURN: u64 = 60 * 60;

/// How far a node is with a signed order. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It was not handed out to the node yet.
    Waits,
    /// It was handed out.
    Handed {
        /// When.
        at: u64,
        /// The fault that the board has shown since.
        fault: Option<u8>,
    },
    /// The board refuses to carry it out.
    Refused {
        /// When it was handed out.
        at: u64,
        /// Why not, in its words.
        why: String,
    },
    /// The board has named the order in a report: it is carrying it out.
    Begun {
        /// When.
        at: u64,
        /// The fault that the board has shown since.
        fault: Option<u8>,
    },
    /// A card has written the disk by it, and the node has joined afterwards.
    Done {
        /// When, if it was seen.
        at: Option<u64>,
    },
    /// The node has joined with a later order, so its disk no longer accepts this one.
    Overtaken,
}

/// Why a rolling order does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// This node has shown a fault.
    Fault(Mac, u8),
    /// This node does not carry it out.
    Refused(Mac),
    /// This node has not joined within an hour.
    Late(Mac),
    /// This node has joined with another image.
    OtherImage(Mac, String),
}

impl Stop {
    /// The node that it is about.
    #[must_use]
    pub const fn node(&self) -> Mac {
        match self {
            Self::Fault(mac, _)
            | Self::Refused(mac)
            | Self::Late(mac)
            | Self::OtherImage(mac, _) => *mac,
        }
    }
}

/// As the end of a sentence: "stopped, because d8:3a:dd:01:02:03 has shown fault 7".
impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fault(mac, fault) => write!(f, "{mac} has shown fault {fault}"),
            Self::Refused(mac) => write!(f, "{mac} does not carry it out"),
            Self::Late(mac) => write!(f, "{mac} has not joined within an hour"),
            Self::OtherImage(mac, image) => write!(f, "{mac} has joined with the image {image}"),
        }
    }
}

/// How far a node is with an order.
#[must_use]
pub fn step(order: &Order, node: Option<&Node>) -> Step {
    let Some(node) = node else {
        return Step::Waits;
    };
    let handed = node.orders.get(&order.id);
    // A hold or an identify is never done. It ends when it expires.
    if matches!(order.action, Action::Flash(_)) {
        match node.orders.done() {
            Some(done) if done == order.id => {
                let at = handed.and_then(|handed| handed.joined);
                return Step::Done { at };
            }
            Some(done) if done > order.id => {
                // The node may have carried it out before the later one.
                let was_named =
                    handed.is_some_and(|handed| handed.named.is_some() && handed.joined.is_some());
                return match handed {
                    Some(handed) if was_named => Step::Done { at: handed.joined },
                    _ => Step::Overtaken,
                };
            }
            _ => {}
        }
    }
    match handed {
        None => Step::Waits,
        Some(handed) => {
            let fault = handed.fault.map(|(_, fault)| fault);
            match (&handed.refused, handed.named) {
                // A board also names an order when it refuses it.
                (Some(why), _) => Step::Refused {
                    at: handed.at,
                    why: why.clone(),
                },
                (None, Some(at)) => Step::Begun { at, fault },
                (None, None) => Step::Handed {
                    at: handed.at,
                    fault,
                },
            }
        }
    }
}

/// Whether a rolling order has stopped. The first node in its list that has proven trouble stops it.
#[must_use]
pub fn stop(order: &Order, rack: &Rack, now: u64) -> Option<Stop> {
    let flash = rolling(order)?;
    let mut nodes = order.nodes.iter();
    nodes.find_map(|mac| stopped_at(order, flash, *mac, rack.node(*mac)?, now))
}

/// The node whose turn it is in a rolling order that has not stopped.
#[must_use]
pub fn turn(order: &Order, rack: &Rack, now: u64) -> Option<Mac> {
    if stop(order, rack, now).is_some() {
        return None;
    }
    let mut nodes = order.nodes.iter().copied();
    nodes.find(|mac| {
        !matches!(
            step(order, rack.node(*mac)),
            Step::Done { .. } | Step::Overtaken
        )
    })
}

/// What a rolling order says about the flash.
#[must_use]
pub fn rolling(order: &Order) -> Option<&Flash> {
    match &order.action {
        Action::Flash(flash) if flash.rolling => Some(flash),
        _ => None,
    }
}

fn stopped_at(order: &Order, flash: &Flash, mac: Mac, node: &Node, now: u64) -> Option<Stop> {
    let handed = node.orders.get(&order.id)?;
    // The board showed the fault before it joined. That speaks against the image, even if the node is well now.
    if let Some((_, fault)) = handed.fault {
        return Some(Stop::Fault(mac, fault));
    }
    if handed.joined.unwrap_or(now) > handed.at.saturating_add(LONGEST_TURN) {
        return Some(Stop::Late(mac));
    }
    // Perhaps only a card is missing. Once somebody puts it in, the order goes on after this board.
    if handed.refused.is_some() {
        return Some(Stop::Refused(mac));
    }
    let is_this = node.orders.done().as_ref() == Some(&order.id);
    match (&flash.choice, &handed.image_id) {
        (Choice::Image(wanted), Some(runs)) if is_this && wanted.as_str() != runs => {
            Some(Stop::OtherImage(mac, runs.clone()))
        }
        _ => None,
    }
}
