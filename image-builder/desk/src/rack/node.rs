//! What is known of one board.

use std::borrow::Cow;

use gild_boards::mac::Mac;
use gild_report::{Finding, Kind, Report};
use serde::{Deserialize, Serialize};

use super::{Door, Given, Opened, Orders, Starts, Trust, cut};

/// At most this many events are kept.
const HISTORY: usize = 40;
/// The flasher's stages in which the disk is being written.
const WRITES: [&str; 3] = ["flash", "verify", "commit"];
const FLASHED: &str = "flashed";
const JOINED: &str = "joined";

/// Something that happened to a node, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Seconds since 1970.
    pub at: u64,
    /// What.
    pub text: String,
}

/// One board: what it has reported last, and what the desk remembers of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// The address by which it is known.
    pub mac: String,
    /// The addresses of its other interfaces, as a card has signed them.
    pub other_macs: Vec<String>,
    /// Who reports at present: the flasher or the node.
    pub kind: Kind,
    /// Who stands behind the last report.
    pub trust: Option<Trust>,
    /// gild's name of the board.
    pub board: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Its name.
    pub hostname: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// The image on its disk, or that is being written.
    pub image_id: Option<String>,
    /// Another image on the share.
    pub offered: Option<String>,
    /// Whether the image still has to prove itself.
    pub on_trial: bool,
    /// The stage that it is in.
    pub stage: Option<String>,
    /// How much of it is done.
    pub percent: Option<u8>,
    /// How fast.
    pub bytes_per_second: Option<u64>,
    /// How long it will take yet.
    pub seconds_left: Option<u64>,
    /// The fault that its LED shows.
    pub fault: Option<u8>,
    /// What went wrong, or what it waits for.
    pub message: Option<String>,
    /// What to do.
    pub next_step: Option<String>,
    /// Whether it waits for the operator.
    pub held: bool,
    /// Hardware that is slow or failing.
    pub hardware: Vec<Finding>,
    /// When it spoke last, seconds since 1970.
    pub heard: u64,
    /// Whether its token is given out.
    pub door: Door,
    /// What happened to it, the latest last, except for what `given` has.
    history: Vec<Event>,
    /// When its door was opened, and who was given its token then.
    given: Given,
    /// The signed order that the board has named last. Its disk has carried it out, or is carrying it out.
    pub order: Option<String>,
    /// What it was ordered.
    pub orders: Orders,
    /// What a stranger has reported about it, since the last report that the desk trusts.
    pub hearsay: Option<String>,
    /// The start of its flasher for which the door was opened. Each start opens it only once.
    pub(super) opened_for: Option<String>,
    /// The digest of the proof by which it is known.
    pub(super) proof: Option<String>,
    /// Whether the next proof through the open door becomes the node's. No proof has come since the door was opened.
    pub(super) awaits_proof: bool,
    /// Which reports were seen.
    pub(super) starts: Starts,
}

impl Node {
    /// A node of which nothing is known.
    pub(super) fn new(mac: Mac) -> Self {
        Self {
            mac: mac.to_string(),
            ..Self::default()
        }
    }

    /// All its addresses, the one by which it is known first.
    pub fn macs(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.mac).chain(&self.other_macs)
    }

    /// Whether nobody vouches for it.
    #[must_use]
    pub fn is_stranger(&self) -> bool {
        !self.is_known()
            && self.door == Door::NeverOpened
            && self.proof.is_none()
            && self.orders.is_empty()
    }

    /// Whether this is the digest of a proof by which the node is known.
    #[must_use]
    pub fn is_known_by(&self, digest: &str) -> bool {
        self.proof.as_deref() == Some(digest)
    }

    /// Whether the next proof that comes becomes the one by which the desk knows the node, and replaces any earlier one.
    #[must_use]
    pub fn awaits_proof(&self, now: u64) -> bool {
        self.awaits_proof && self.door.reason(now).is_none()
    }

    /// Whether this is worth writing to the journal, compared with what was known before. The progress of a flash is not, because the next
    /// report repeats it.
    #[must_use]
    pub(super) fn says_more_than(&self, before: Option<&Self>) -> bool {
        let lasting = |node: &Self| Self {
            percent: None,
            bytes_per_second: None,
            seconds_left: None,
            heard: 0,
            hearsay: None,
            starts: node.starts.without_sequences(),
            ..node.clone()
        };
        before.is_none_or(|before| lasting(self) != lasting(before))
    }

    /// Whether there is nothing to note if its token goes to this address.
    #[must_use]
    pub fn was_given_to(&self, to: &str) -> bool {
        let Door::Open { since, .. } = self.door else {
            return false;
        };
        self.given.has(since, to)
    }

    /// What happened to it, the latest last.
    #[must_use]
    pub fn history(&self) -> Vec<Cow<'_, Event>> {
        let history = self.history.iter().map(Cow::Borrowed);
        let mut all: Vec<_> = self.given.events().chain(history).collect();
        all.sort_by_key(|event| event.at);
        all
    }

    /// Whether a report is from the start that reported last, or from a later one.
    pub(super) fn is_present(&self, trust: Trust, report: &Report) -> bool {
        self.starts.is_present(trust, &report.boot)
    }

    /// Takes in a new report. `is_barred`: the operator has closed the door of an address that the report names.
    pub(super) fn reported(&mut self, at: u64, trust: Trust, report: &Report, is_barred: bool) {
        let report = &cut(report, trust);
        let is_present = self.is_present(trust, report);
        if trust == Trust::Nobody {
            self.overhear(at, report);
            return;
        }
        self.starts.note(trust, &report.boot, report.sequence);
        // A late receipt is about an earlier start, so it does not say where the board is now.
        if is_present {
            self.take(at, trust, report);
        } else {
            let outcome = report.outcome.as_deref().unwrap_or("?");
            self.remember(at, &format!("an earlier start reports late: {outcome}"));
        }
        self.move_door(at, trust, report, is_present, is_barred);
    }

    /// Takes in a report that nobody vouches for. About a known board it is hearsay; about a stranger it is all that there is.
    fn overhear(&mut self, at: u64, report: &Report) {
        if self.is_stranger() {
            self.take(at, Trust::Nobody, report);
            self.history.clear();
        } else {
            let said = report.message.as_deref().or(report.stage.as_deref());
            self.hearsay = said.map(str::to_owned);
        }
    }

    fn is_known(&self) -> bool {
        matches!(self.trust, Some(Trust::Card | Trust::Node))
    }

    fn move_door(
        &mut self,
        at: u64,
        trust: Trust,
        report: &Report,
        is_present: bool,
        is_barred: bool,
    ) {
        // Each start opens the door once. A door that the operator has closed is opened only by the operator. A late receipt does not open
        // the door of a member.
        let was_opened = self.opened_for.as_deref() == Some(&report.boot);
        let may_open = match self.door {
            Door::NeverOpened => true,
            Door::Open { .. } | Door::Joined { .. } => is_present && !was_opened,
            Door::Closed { .. } => false,
        };
        let opens = trust == Trust::Card && is_being_flashed(report) && may_open;
        if opens && is_barred {
            if !was_opened {
                self.opened_for = Some(report.boot.clone());
                let why = "the operator has closed that of one of its addresses";
                self.remember(at, &format!("the door stays as it is, because {why}"));
            }
        } else if opens {
            let by = Opened::ByFlasher;
            self.door = Door::Open { since: at, by };
            self.opened_for = Some(report.boot.clone());
            // The flash overwrites the secret with the rest of the disk.
            self.proof = None;
            self.awaits_proof = true;
            self.given
                .open(at, "the door is open, because its card flashes it");
        }
        let has_joined = trust == Trust::Node && report.stage.as_deref() == Some(JOINED);
        if has_joined && matches!(self.door, Door::Open { .. } | Door::NeverOpened) {
            self.door = Door::Joined { since: at };
            self.remember(at, "the door is closed, because it has joined");
        }
    }

    fn take(&mut self, at: u64, trust: Trust, report: &Report) {
        let before = (
            self.kind,
            self.stage.clone(),
            self.fault,
            self.message.clone(),
        );
        self.heard = at;
        self.trust = Some(trust);
        self.kind = report.kind;
        self.hearsay = None;
        // If a report leaves one of these out, its sender does not know the value. The old one stays valid.
        for (own, said) in [
            (&mut self.board, &report.board),
            (&mut self.hostname, &report.hostname),
            (&mut self.address, &report.address),
            (&mut self.image_id, &report.image_id),
            (&mut self.order, &report.order),
        ] {
            if said.is_some() {
                own.clone_from(said);
            }
        }
        if trust == Trust::Card && self.serial.is_none() {
            // A later number may come from somebody who wants this board to pass for another.
            self.serial.clone_from(&report.serial);
        }
        if trust != Trust::Nobody {
            let image = self.image_id.as_deref();
            self.orders.reported(at, trust, report, image);
        }
        if report.kind != Kind::Node {
            self.hardware.clone_from(&report.hardware);
        }
        self.offered.clone_from(&report.offered);
        self.on_trial = report.on_trial;
        self.stage = report.stage.clone().or_else(|| report.outcome.clone());
        self.percent = report.percent.map(|percent| percent.min(100));
        self.bytes_per_second = report.bytes_per_second;
        self.seconds_left = report.seconds_left;
        self.fault = report.fault;
        self.message.clone_from(&report.message);
        self.next_step.clone_from(&report.next_step);
        self.held = report.held;
        let now = (
            self.kind,
            self.stage.clone(),
            self.fault,
            self.message.clone(),
        );
        if before != now {
            self.remember(at, &self.in_words());
        }
    }

    /// Takes over what is known of another node, because a card has said that it is this board.
    pub(super) fn absorb(&mut self, other: &Self) {
        if self.door == Door::NeverOpened {
            self.door = other.door;
            self.awaits_proof = other.awaits_proof;
            self.opened_for.clone_from(&other.opened_for);
        }
        self.serial = self.serial.take().or_else(|| other.serial.clone());
        self.starts.absorb(&other.starts);
        self.orders.absorb(&other.orders);
        self.proof = self.proof.take().or_else(|| other.proof.clone());
        self.history.extend(other.history.iter().cloned());
        self.history.sort_by_key(|event| event.at);
        self.bound();
        self.given.absorb(&other.given);
    }

    /// The operator opens or closes the door.
    pub(super) fn decided(&mut self, at: u64, open: bool) {
        self.awaits_proof = open;
        self.door = if open {
            let by = Opened::ByOperator;
            Door::Open { since: at, by }
        } else {
            Door::Closed { since: at }
        };
        if open {
            self.given.open(at, "the operator opens the door");
        } else {
            self.remember(at, "the operator closes the door");
        }
    }

    /// The node was given its token.
    pub(super) fn released(&mut self, at: u64, to: &str) {
        if let Door::Open { since, .. } = self.door {
            self.given.note(since, at, to);
        }
    }

    /// The node was handed a signed order.
    pub(super) fn handed(&mut self, at: u64, order: &str) {
        self.orders.hand(order, at);
        self.remember(at, &format!("the order {order} is handed to it"));
    }

    /// The node has shown its proof through the open door.
    pub(super) fn proved(&mut self, at: u64, proof: &str) {
        self.awaits_proof = false;
        if !self.is_known_by(proof) {
            self.proof = Some(proof.to_owned());
            self.remember(at, "it has shown its secret, and is known by it");
        }
    }

    fn in_words(&self) -> String {
        let who = match self.kind {
            Kind::Node => "node",
            Kind::Progress | Kind::Receipt => "flasher",
        };
        let stage = self.stage.as_deref().unwrap_or("?");
        match (self.fault, &self.message) {
            (Some(fault), Some(message)) => format!("{who}: {stage}, fault {fault}: {message}"),
            (None, Some(message)) => format!("{who}: {stage}: {message}"),
            _ => format!("{who}: {stage}"),
        }
    }

    fn remember(&mut self, at: u64, text: &str) {
        let text = text.to_owned();
        self.history.push(Event { at, text });
        self.bound();
    }

    fn bound(&mut self) {
        let old = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..old);
    }
}

/// Whether the flasher is writing this disk, or has just written it. If it found the disk already right, that does not count: a member must
/// not get its token again only because its card was in the slot.
pub(super) fn is_being_flashed(report: &Report) -> bool {
    let is = |text: &Option<String>, one: &str| text.as_deref() == Some(one);
    match report.kind {
        Kind::Progress => WRITES.iter().any(|stage| is(&report.stage, stage)),
        Kind::Receipt => is(&report.outcome, FLASHED),
        Kind::Node => false,
    }
}
