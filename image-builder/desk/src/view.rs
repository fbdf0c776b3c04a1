//! The picture of the rack for people and programs: where each board is on its way, in one word.

use std::borrow::Cow;

use gild_boards::mac::Mac;
use gild_faults::Fault;
use gild_report::Kind;
use serde::Serialize;

use crate::metadata::Groups;
use crate::orders::{OfNode, name as name_in_group};
use crate::rack::{Door, Event, Node, Rack, Trust};

/// A flasher at work reports every few seconds. If a board has been silent for this many seconds, something is wrong.
const SILENCE: u64 = 60;
/// A node that restarts is silent for longer, because firmware, kernel and first boot take their time: seconds.
const LONG_SILENCE: u64 = 10 * 60;

/// Where a board is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its LED shows a fault.
    Fault,
    /// It has not reported for longer than it should be silent.
    Silent,
    /// The flasher starts, and has written nothing yet.
    Starting,
    /// Its disk is being written.
    Flashing,
    /// Its disk is written, and it starts from it.
    Booting,
    /// It knows its identity, and the cluster has not let it in yet.
    Joining,
    /// It is a member of its cluster.
    Joined,
    /// The desk knows of it, and it has not spoken yet.
    Expected,
    /// Nobody vouches for it.
    Stranger,
}

impl State {
    /// All, in the order in which a page shows them.
    pub const ALL: [Self; 9] = [
        Self::Fault,
        Self::Silent,
        Self::Starting,
        Self::Flashing,
        Self::Booting,
        Self::Joining,
        Self::Joined,
        Self::Expected,
        Self::Stranger,
    ];

    /// Its name in JSON and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Silent => "silent",
            Self::Starting => "starting",
            Self::Flashing => "flashing",
            Self::Booting => "booting",
            Self::Joining => "joining",
            Self::Joined => "joined",
            Self::Expected => "expected",
            Self::Stranger => "stranger",
        }
    }

    /// Of this node at this time.
    #[must_use]
    pub fn of(node: &Node, now: u64) -> Self {
        if node.is_stranger() {
            return Self::Stranger;
        }
        if node.heard == 0 {
            return Self::Expected;
        }
        let silent_for = now.saturating_sub(node.heard);
        let state = match node.kind {
            _ if node.fault.is_some() => Self::Fault,
            Kind::Progress => match node.stage.as_deref() {
                Some("flash" | "verify" | "commit") => Self::Flashing,
                Some("boot-order" | "receipt") => Self::Booting,
                _ => Self::Starting,
            },
            Kind::Receipt => Self::Booting,
            Kind::Node => match node.stage.as_deref() {
                Some("joined") => Self::Joined,
                _ => Self::Joining,
            },
        };
        match state {
            Self::Starting | Self::Flashing if silent_for > SILENCE => Self::Silent,
            Self::Booting | Self::Joining if silent_for > LONG_SILENCE => Self::Silent,
            state => state,
        }
    }
}

/// One node as pages and programs see it. It has no proof, and no serial number, because a node's password is made from the board's number.
#[derive(Clone, Debug, Serialize)]
pub struct Shown<'a> {
    name: Cow<'a, str>,
    state: State,
    mac: &'a str,
    other_macs: &'a [String],
    has_group: bool,
    board: Option<&'a str>,
    hostname: Option<&'a str>,
    address: Option<&'a str>,
    image_id: Option<&'a str>,
    offered: Option<&'a str>,
    on_trial: bool,
    speaker: Kind,
    trust: Option<Trust>,
    stage: Option<&'a str>,
    percent: Option<u8>,
    bytes_per_second: Option<u64>,
    seconds_left: Option<u64>,
    fault: Option<u8>,
    fault_meaning: Option<&'static str>,
    message: Option<&'a str>,
    next_step: Option<&'a str>,
    held: bool,
    hardware: &'a [gild_report::Finding],
    heard: u64,
    door: Door,
    hearsay: Option<&'a str>,
    order: Option<&'a OfNode>,
    history: Vec<Cow<'a, Event>>,
}

impl<'a> Shown<'a> {
    /// The node as it is at this time (seconds since 1970), with its name from these groups.
    #[must_use]
    pub fn of(node: &'a Node, now: u64, groups: &Groups) -> Self {
        let fault = node.fault.and_then(fault);
        let own_step = node.next_step.as_deref();
        Self {
            name: name(node, groups),
            state: State::of(node, now),
            mac: &node.mac,
            other_macs: &node.other_macs,
            has_group: has_group(node, groups),
            board: node.board.as_deref(),
            hostname: node.hostname.as_deref(),
            address: node.address.as_deref(),
            image_id: node.image_id.as_deref(),
            offered: node.offered.as_deref(),
            on_trial: node.on_trial,
            speaker: node.kind,
            trust: node.trust,
            stage: node.stage.as_deref(),
            percent: node.percent,
            bytes_per_second: node.bytes_per_second,
            seconds_left: node.seconds_left,
            fault: node.fault,
            fault_meaning: fault.map(Fault::meaning),
            message: node.message.as_deref(),
            next_step: own_step.or(fault.map(Fault::next_step)),
            held: node.held,
            hardware: &node.hardware,
            heard: node.heard,
            door: node.door,
            hearsay: node.hearsay.as_deref(),
            order: None,
            history: node.history(),
        }
    }

    /// Adds what the node is ordered to do at present.
    #[must_use]
    pub fn ordered(self, order: Option<&'a OfNode>) -> Self {
        Self { order, ..self }
    }
}

/// The name of a board: the one that it reports, or else the one from its group, or else its address.
#[must_use]
pub fn name<'a>(node: &'a Node, groups: &Groups) -> Cow<'a, str> {
    if let Some(said) = &node.hostname {
        return Cow::Borrowed(said);
    }
    let named = node
        .macs()
        .find_map(|mac| name_in_group(groups, Mac::parse(mac)?));
    named.map_or(Cow::Borrowed(&node.mac), Cow::Owned)
}

/// Whether a group answers a node of this board. The node asks with each of its addresses, so one match is enough.
#[must_use]
pub fn has_group(node: &Node, groups: &Groups) -> bool {
    node.macs().any(|mac| groups.has(mac))
}

/// How many nodes are in each state.
#[must_use]
pub fn count(rack: &Rack, now: u64) -> Vec<(State, usize)> {
    let states: Vec<_> = rack.nodes().map(|node| State::of(node, now)).collect();
    State::ALL
        .map(|state| (state, states.iter().filter(|one| **one == state).count()))
        .to_vec()
}

fn fault(number: u8) -> Option<Fault> {
    Fault::ALL
        .into_iter()
        .find(|fault| fault.number() == number)
}
