//! The desk itself: the rack in memory, the journal on the disk, and who watches.

mod ordering;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use gild_boards::mac::Mac;
use gild_report::{Kind, Proof, Report, ReportKey};
use log::{info, warn};
use tokio::sync::broadcast;

use crate::folder::{Folder, FolderError, Login};
use crate::journal::{Journal, JournalError};
use crate::known_groups::KnownGroups;
use crate::metadata::{Group, Groups, Question, Scope};
use crate::orders::KnownOrders;
use crate::rack::{Door, Happened, Node, Rack, Refused, Trust, cut};

/// How much the journal may grow, in bytes, before it is made short.
const GROWTH: u64 = 8 << 20;
/// And how much it may grow where it cannot be made short.
const MOST_GROWTH: u64 = 8 * GROWTH;
/// So many boards are known at most, and beyond them those that a group names: whoever has the key of the cards can invent boards without
/// end, and must not keep the operator's own ones out.
const MOST_KNOWN: usize = 1024;
/// News that a slow page may lag behind before it loads everything again.
const NEWS: usize = 1024;

pub use ordering::OrderingError;

/// The desk.
pub struct Desk {
    folder: Folder,
    report_key: ReportKey,
    login: Login,
    memory: Mutex<Memory>,
    news: broadcast::Sender<Mac>,
    changes: AtomicU64,
    known_groups: KnownGroups,
    known_orders: KnownOrders,
}

struct Memory {
    rack: Rack,
    journal: Journal,
    /// How long the journal was when it was short, and how long it is when it is made short again.
    short: u64,
    next: u64,
}

/// The desk cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// A file of its folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Its journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// A report was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It is not a report.
    #[error("this is not a report: {0}")]
    NotAReport(String),
    /// It is signed with something else than this site's key.
    #[error("the signature is not of this site's `status_key`")]
    Signature,
    /// It cannot be taken.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Too many boards are known already.
    #[error(
        "the desk knows {MOST_KNOWN} boards and takes no further one without a group; next: give this board one with `gild node add`, and change the cards' `status_key` if you do not know the others"
    )]
    Full,
    /// It would be lost if the desk ended now, so that it must come again.
    #[error("the desk cannot keep it: {0}")]
    Kept(std::io::Error),
}

/// What comes with a report or a question, and says who asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown<'a> {
    /// The signature by the key on the card.
    pub signature: Option<&'a str>,
    /// The secret of a node.
    pub proof: Option<&'a str>,
    /// Where in the network it comes from.
    pub from: Option<IpAddr>,
}

impl Desk {
    /// Opens the folder.
    pub fn open(folder: &Folder) -> Result<Self, DeskError> {
        let report_key = folder.read_report_key()?;
        let login = folder.read_login()?;
        let (journal, happened) = Journal::open::<Happened>(&folder.journal())?;
        let mut rack = Rack::default();
        for happened in &happened {
            rack.apply(happened);
        }
        let mut memory = Memory {
            rack,
            journal,
            short: 0,
            next: GROWTH,
        };
        memory.shorten();
        Ok(Self {
            folder: folder.clone(),
            report_key,
            login,
            memory: Mutex::new(memory),
            news: broadcast::channel(NEWS).0,
            changes: AtomicU64::default(),
            known_groups: KnownGroups::default(),
            known_orders: KnownOrders::default(),
        })
    }

    /// Its folder.
    #[must_use]
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Whether this is the operator's word.
    #[must_use]
    pub fn is_operator(&self, shown: &str) -> bool {
        self.login.is(shown)
    }

    /// Looks at the rack.
    pub fn look<T>(&self, look: impl FnOnce(&Rack) -> T) -> T {
        look(&self.memory().rack)
    }

    /// The groups as their files have them.
    #[must_use]
    pub fn groups(&self) -> Arc<Groups> {
        self.known_groups.read(self.folder.path())
    }

    /// Of whom there is news, from now on.
    #[must_use]
    pub fn news(&self) -> broadcast::Receiver<Mac> {
        self.news.subscribe()
    }

    /// How often anything has changed: who knows this number knows whether anything has since.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Takes a report.
    pub fn report(&self, body: &[u8], shown: Shown<'_>) -> Result<(), ReportError> {
        let report: Report = serde_json::from_slice(body)
            .map_err(|error| ReportError::NotAReport(error.to_string()))?;
        let trust = self.trust(&report, body, shown)?;
        let report = cut(&report, trust);
        // Before the lock: they are files.
        let groups = self.groups();
        let mut memory = self.memory();
        let mac = memory.rack.accepts(&report, trust)?;
        if trust != Trust::Nobody && memory.has_no_place_for(mac, &groups) {
            return Err(ReportError::Full);
        }
        let happened = Happened::Reported {
            at: now(),
            trust,
            report: Box::new(report),
        };
        if memory.rack.must_keep(&happened) {
            memory.keep(&happened).map_err(ReportError::Kept)?;
        }
        self.apply(&mut memory, &happened);
        Ok(())
    }

    /// The answer to `/metadata`, by Matchbox's rules; the token only through the door. `None` is Matchbox's 404.
    pub fn metadata(&self, query: &str, shown: Shown<'_>) -> Option<String> {
        let question = Question::parse(query);
        let groups = self.groups();
        let group = question.group(&groups)?;
        let reason = self.withholds(&question, group, shown);
        let scope = reason.map_or(Scope::Whole, Scope::Public);
        Some(question.answer(group, scope))
    }

    /// Whether a group or a report names this address. A group for each board names nobody.
    #[must_use]
    pub fn knows(&self, mac: Mac) -> bool {
        self.groups().name_mac(mac) || self.look(|rack| rack.node(mac).is_some())
    }

    /// The operator opens or closes the door for a node.
    pub fn decide(&self, mac: Mac, open: bool) -> std::io::Result<()> {
        let happened = Happened::Decided {
            at: now(),
            mac: mac.to_string(),
            open,
        };
        let mut memory = self.memory();
        memory.keep(&happened)?;
        info!(
            "the operator {} the door for {mac}",
            if open { "opens" } else { "closes" }
        );
        self.apply(&mut memory, &happened);
        Ok(())
    }

    /// Why the secrets of a group are not given to who asks. What is given is noted first: if it cannot be, it is not given.
    fn withholds(
        &self,
        question: &Question<'_>,
        group: &Group,
        shown: Shown<'_>,
    ) -> Option<&'static str> {
        if !group.has_secrets() {
            return None;
        }
        let Some(mac) = question.mac() else {
            return Some("the question names no MAC address");
        };
        let mut memory = self.memory();
        let node = memory.rack.node(mac);
        let door = node.map_or(Door::NeverOpened, |node| node.door);
        if let Some(reason) = door.reason(now()) {
            let is_known = is_known_by(node, shown.proof);
            return (door.is_closed_by_operator() || !is_known).then_some(reason);
        }
        let to = shown
            .from
            .map_or_else(|| "an unknown address".to_owned(), |from| from.to_string());
        if node.is_some_and(|node| node.was_given_to(&to)) {
            return None;
        }
        info!("{mac} is given its token, at {to}");
        let happened = Happened::Released {
            at: now(),
            mac: mac.to_string(),
            to,
        };
        if let Err(error) = memory.keep(&happened) {
            warn!("the token of {mac} stays here, because the journal cannot be written: {error}");
            return Some("the desk cannot write its journal");
        }
        self.apply(&mut memory, &happened);
        None
    }

    /// Who stands behind a report. The first proof that comes through an open door is the one that the node is known by.
    fn trust(&self, report: &Report, body: &[u8], shown: Shown<'_>) -> Result<Trust, ReportError> {
        if let Some(signature) = shown.signature {
            return if self.report_key.has_signed(body, signature) && report.kind != Kind::Node {
                Ok(Trust::Card)
            } else {
                Err(ReportError::Signature)
            };
        }
        let mac = report.mac.as_deref().and_then(Mac::parse);
        let proof = shown.proof.and_then(Proof::parse);
        let (Some(mac), Some(proof), Kind::Node) = (mac, proof, report.kind) else {
            return Ok(Trust::Nobody);
        };
        let mut memory = self.memory();
        let node = memory.rack.node(mac);
        if !node.is_some_and(|node| node.awaits_proof(now())) {
            return Ok(if is_known_by(node, shown.proof) {
                Trust::Node
            } else {
                Trust::Nobody
            });
        }
        let happened = Happened::Proved {
            at: now(),
            mac: mac.to_string(),
            proof: proof.digest(),
        };
        memory.keep(&happened).map_err(ReportError::Kept)?;
        self.apply(&mut memory, &happened);
        Ok(Trust::Node)
    }

    fn apply(&self, memory: &mut Memory, happened: &Happened) {
        if let Some(mac) = memory.rack.apply(happened) {
            self.has_changed(mac);
        }
    }

    fn has_changed(&self, mac: Mac) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        // Nobody may be watching.
        let _ = self.news.send(mac);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Whether this is one board more than the desk keeps. A board that is known has its place.
    fn has_no_place_for(&self, mac: Mac, groups: &Groups) -> bool {
        let is_new = self.rack.node(mac).is_none_or(Node::is_stranger);
        is_new && self.rack.known() >= MOST_KNOWN && !groups.name_mac(mac)
    }

    fn keep(&mut self, happened: &Happened) -> std::io::Result<()> {
        self.shorten();
        if self.journal.length() >= self.short + MOST_GROWTH {
            let why = "the journal has grown by 64 MiB and cannot be made short; next: look why in the desk's log";
            return Err(std::io::Error::other(why));
        }
        self.journal.add(happened)
    }

    /// Makes the journal short when it has grown. If that fails, it is tried again when it has grown once more.
    fn shorten(&mut self) {
        if self.journal.length() < self.next {
            return;
        }
        match self.journal.replace(self.rack.in_short()) {
            Ok(()) => self.short = self.journal.length(),
            Err(error) => warn!("the journal cannot be made short: {error}"),
        }
        self.next = self.journal.length() + GROWTH;
    }
}

/// Whether what somebody shows is what this node is known by.
fn is_known_by(node: Option<&Node>, proof: Option<&str>) -> bool {
    let proof = proof.and_then(Proof::parse);
    proof.is_some_and(|proof| node.is_some_and(|node| node.is_known_by(&proof.digest())))
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
