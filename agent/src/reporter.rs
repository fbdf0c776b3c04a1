//! Reports to the status URL what the node does, while it does it.
//!
//! A separate thread always sends the latest state. A step only puts its news into the [`Outbox`] and continues. So a status server that is
//! slow, dead or hostile cannot delay the work.

mod about;
mod line;
mod outbox;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use gild_report::{Finding, Report, ReportKey};
use log::{info, warn};
use reqwest::Url;

pub use about::about;
use line::Line;
use outbox::{Letter, Next, Outbox, Outcome};

use crate::failure::Failure;
use crate::machine::Machine;
use crate::node::Node;
use crate::progress::Measure;
use crate::receipt::Receipt;
use crate::stage::Stage;
use crate::uptime::uptime;

/// How long the agent waits before a restart for the server to take its receipt.
const PARTING: Duration = Duration::from_secs(5);
/// The longest single wait for that, because the watchdog must be fed in between.
const TICK: Duration = Duration::from_secs(1);

/// Where reports go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The status URL.
    pub url: Url,
    /// Certificates of authorities that may vouch for that address, in PEM form. Public authorities may vouch for it too.
    pub authorities: Option<String>,
    /// What reports are signed with.
    pub key: Option<ReportKey>,
}

/// Takes news, and never waits for the network.
#[derive(Clone, Default)]
pub struct Reporter {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    outbox: Mutex<Outbox>,
    /// Signals that there is something to send, or that something was taken.
    changed: Condvar,
}

impl Reporter {
    /// Starts the thread that sends.
    pub fn start(&self) {
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || shared.send());
    }

    /// This start of the board.
    pub fn boot(&self) -> String {
        self.shared.outbox().boot().to_owned()
    }

    /// Updates what is known of the node. Nothing is sent before it has a network.
    pub fn knows(&self, node: &Node) {
        let to = node.status.clone().filter(|_| node.network.is_some());
        let about = about(node);
        self.shared.outbox().knows(to, about);
        self.shared.changed.notify_all();
    }

    /// A stage begins. The earlier fault is over, unless the LED still shows it.
    pub fn enters(&self, stage: Stage, is_fault_over: bool) {
        self.change(|outbox| outbox.enters(stage.name(), is_fault_over));
    }

    /// This much of the present stage is done.
    pub fn measured(&self, measure: Measure) {
        self.change(|outbox| outbox.measured(measure));
    }

    /// The earlier failure is over.
    pub fn got_on(&self) {
        self.change(Outbox::got_on);
    }

    /// A step failed.
    pub fn failed(&self, failure: &Failure, held: bool) {
        self.change(|outbox| outbox.failed(failure, held));
    }

    /// An order holds the node, in words.
    pub fn held(&self, message: &str) {
        self.change(|outbox| outbox.held(message));
    }

    /// The findings about one part of the hardware. Returns whether they are news.
    pub fn found(&self, subject: &str, found: &[Finding]) -> bool {
        let mut is_news = false;
        self.change(|outbox| is_news = outbox.found(subject, found));
        is_news
    }

    /// Adds the identity of this start and the present time to a report.
    pub fn stamp(&self, report: Report) -> Report {
        self.shared.outbox().stamp(report, seconds())
    }

    /// Hands over a receipt. `is_news`: if it is not taken before the restart, the next start must send it.
    pub fn receipt(&self, receipt: Receipt, is_news: bool) {
        self.change(|outbox| outbox.receipt(receipt, is_news));
    }

    /// Receipts of earlier starts that nobody has taken.
    pub fn earlier(&self, receipts: Vec<String>) {
        self.change(|outbox| outbox.earlier(receipts));
    }

    /// Before a restart, waits a moment for the receipts to be taken, if there is a way to the status URL.
    pub fn part(&self, machine: &Machine) {
        let end = Instant::now() + PARTING;
        let mut outbox = self.shared.outbox();
        outbox.hurry();
        self.shared.changed.notify_all();
        while outbox.is_sending_receipts() {
            machine.alive();
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return;
            }
            let waited = self.shared.changed.wait_timeout(outbox, rest.min(TICK));
            outbox = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What the next start must send, one receipt in each line.
    pub fn unsent(&self) -> Vec<String> {
        self.shared.outbox().unsent()
    }

    fn change(&self, change: impl FnOnce(&mut Outbox)) {
        let mut outbox = self.shared.outbox();
        let before = outbox.contents();
        change(&mut outbox);
        // The engine reports thousands of times, but only the first report must wake the sender.
        let is_new = before != outbox.contents();
        drop(outbox);
        if is_new {
            self.shared.changed.notify_all();
        }
    }
}

impl Shared {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self) {
        let mut line = Line::default();
        loop {
            let letter = self.letter();
            let posted = line.post(&letter.to, &letter.json);
            let outcome = self
                .outbox()
                .posted(&letter, posted.is_ok(), Instant::now());
            self.changed.notify_all();
            match (posted, outcome) {
                (Err(error), Outcome::Trouble) => {
                    warn!("the status URL does not take reports: {error}; they are sent again");
                }
                (Ok(()), Outcome::Over) => info!("the status URL takes reports again"),
                _ => (),
            }
        }
    }

    /// Waits until there is something to send.
    fn letter(&self) -> Letter {
        let mut outbox = self.outbox();
        loop {
            outbox = match outbox.next(Instant::now(), seconds()) {
                Next::Send(letter) => return letter,
                Next::Wait(Some(time)) => {
                    let waited = self.changed.wait_timeout(outbox, time);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                Next::Wait(None) => {
                    let waited = self.changed.wait(outbox);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

/// Seconds since the board started.
fn seconds() -> Option<u64> {
    uptime().map(|time| time.as_secs())
}
