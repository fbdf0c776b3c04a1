//! The desk itself: the rack in memory, the journal on the disk, and the pages that watch.

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
use crate::journal::{self, Journal, JournalError};
use crate::known_groups::KnownGroups;
use crate::metadata::{Group, Groups, Question, Scope};
use crate::orders::KnownOrders;
use crate::rack::{Door, Happened, Node, Rack, Refused, Trust, cut};

/// The desk shortens its journal when the journal has grown by this many bytes.
const GROWTH: u64 = 8 << 20;
/// While the journal cannot be shortened, it may grow by this many bytes. Then the desk adds nothing to it.
const MOST_GROWTH: u64 = 8 * GROWTH;
/// The desk keeps at most this many boards, and in addition every board that a group names. Anyone who has the key of the cards can invent
/// boards without end. They must not push out the operator's own boards.
const MOST_KNOWN: usize = 1024;
/// A page may fall this many changes behind. Then it loads everything again.
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
    /// The journal's length after it was last shortened, and the length at which it is shortened next.
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
    /// The text is not a report.
    #[error("this is not a report: {0}")]
    NotAReport(String),
    /// The signature was not made with this site's key.
    #[error("the signature is not of this site's `status_key`")]
    Signature,
    /// The rack refuses the report.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The desk knows too many boards already.
    #[error(
        "the desk knows {MOST_KNOWN} boards and takes no further one without a group; next: give this board one with `gild node add`, and change the cards' `status_key` if you do not know the others"
    )]
    Full,
    /// The journal did not take it. The report would be lost if the desk ended now, so the board must send it again.
    #[error("the desk cannot keep it: {0}")]
    Kept(std::io::Error),
}

/// What comes with a report or a question, and shows who sent it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown<'a> {
    /// The signature by the key on the card.
    pub signature: Option<&'a str>,
    /// The secret of a node.
    pub proof: Option<&'a str>,
    /// The address in the network from which it comes.
    pub from: Option<IpAddr>,
}

impl Desk {
    /// Opens the folder.
    pub fn open(folder: &Folder) -> Result<Self, DeskError> {
        let report_key = folder.read_report_key()?;
        let login = folder.read_login()?;
        journal::settle(&folder.journal())?;
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

    /// Whether this is the operator's login.
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

    /// Yields the address of each board that changes, from now on.
    #[must_use]
    pub fn news(&self) -> broadcast::Receiver<Mac> {
        self.news.subscribe()
    }

    /// Counts the changes. If the number is the same as before, nothing has changed.
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
        // Read before the lock is taken, because reading files may take long.
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

    /// The answer to `/metadata`, by Matchbox's rules. It has the token only if the node's door is open. `None` is Matchbox's 404.
    pub fn metadata(&self, query: &str, shown: Shown<'_>) -> Option<String> {
        let question = Question::parse(query);
        let groups = self.groups();
        let group = question.group(&groups)?;
        let reason = self.withholds(&question, group, shown);
        let scope = reason.map_or(Scope::Whole, Scope::Public);
        Some(question.answer(group, scope))
    }

    /// Whether a group or a report names this address.
    #[must_use]
    pub fn knows(&self, mac: Mac) -> bool {
        let groups = self.groups();
        self.look(|rack| is_known(mac, &groups, rack))
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

    /// Why the asker does not get the secrets of a group. The desk notes in the journal what it gives, before it gives it: if it cannot
    /// note that, it gives nothing.
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

    /// Whom the report is from. The first proof that comes through an open door becomes the one by which the desk knows the node.
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
        // This fails if no page is open.
        let _ = self.news.send(mac);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Whether this board would be one more than the desk keeps. A board that it already knows keeps its place.
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

    /// Shortens the journal when it has grown. If that fails, the desk tries again after the journal has grown as much again.
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

/// Whether a group or a report names this address. A group without a selector matches every board and therefore names none.
#[must_use]
pub fn is_known(mac: Mac, groups: &Groups, rack: &Rack) -> bool {
    groups.name_mac(mac) || rack.node(mac).is_some()
}

/// Whether the node is known by this proof.
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
