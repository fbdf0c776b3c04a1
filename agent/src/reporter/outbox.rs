//! What waits to be sent, and when it is sent. No I/O.
//!
//! It keeps only the latest: one state of the work, the last receipt of this start, and a few receipts of earlier starts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use gild_report::{Finding, Kind, Report};
use gild_source::pause;

use super::Destination;
use crate::failure::Failure;
use crate::progress::Measure;
use crate::receipt::Receipt;

/// How often the progress of a stage is reported. A random part of up to a fifth is added or subtracted, so that the nodes of a rack do not
/// report in step.
const EVERY: Duration = Duration::from_secs(5);
/// First and longest wait after a failure.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// How urgent the news of the state is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    #[default]
    None,
    /// It is sent at the next regular time.
    Measured,
    /// It is sent at once.
    Changed,
}

/// The kinds of reports, in the order of their turns: receipts of earlier starts come before newer reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Earlier,
    Receipt,
    State,
}

const TURNS: [Turn; 3] = [Turn::Earlier, Turn::Receipt, Turn::State];

/// The failures of one kind of report. Each kind has its own, so that a report that is never taken does not block the others.
#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
    failures: u32,
    /// Until then nothing of this kind is sent.
    rest: Option<Instant>,
}

/// One report on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Where it goes.
    pub to: Destination,
    /// Its text, as it is signed.
    pub json: String,
    turn: Turn,
    news: News,
    /// The receipt that it is.
    number: u64,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// This is sent.
    Send(Letter),
    /// Nothing can be sent for this long, unless something new comes.
    Wait(Option<Duration>),
}

/// What changed with the sending of a letter.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing changed.
    AsBefore,
    /// It is the first report that was not taken.
    Trouble,
    /// It is the first report that was taken again.
    Over,
}

/// The last receipt of this start.
struct Own {
    number: u64,
    receipt: Receipt,
    is_news: bool,
}

/// What waits to be sent.
pub struct Outbox {
    boot: String,
    sequence: u64,
    to: Option<Destination>,
    /// What is known of the node.
    about: Report,
    /// Which parts of its hardware are slow or failing.
    hardware: Vec<Finding>,
    /// What the work does: stage, progress, fault.
    state: Report,
    news: News,
    /// When the next report of the progress is due.
    due: Option<Instant>,
    own: Option<Own>,
    receipts: u64,
    earlier: VecDeque<String>,
    /// In the order of the turns.
    troubles: [Trouble; TURNS.len()],
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            boot: format!("{:016x}", fastrand::u64(..)),
            sequence: 0,
            to: None,
            about: Report::default(),
            hardware: Vec::new(),
            state: Report::default(),
            news: News::None,
            due: None,
            own: None,
            receipts: 0,
            earlier: VecDeque::new(),
            troubles: Default::default(),
        }
    }
}

impl Outbox {
    /// This start of the board.
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// What is known of the node. If there is a network, also where reports go.
    pub fn knows(&mut self, to: Option<Destination>, about: Report) {
        if to != self.to {
            // A new network or another server may work better.
            self.hurry();
            self.to = to;
        }
        self.about = about;
    }

    /// A stage begins.
    pub fn enters(&mut self, stage: &str, is_fault_over: bool) {
        self.state.stage = Some(stage.to_owned());
        self.state.percent = None;
        self.state.bytes_per_second = None;
        self.state.seconds_left = None;
        if is_fault_over {
            self.is_well();
        }
        self.news = News::Changed;
    }

    /// So much of it is done.
    pub fn measured(&mut self, measure: Measure) {
        self.state.percent = Some(measure.percent);
        self.state.bytes_per_second = Some(measure.bytes_per_second);
        self.state.seconds_left = Some(measure.seconds_left);
        self.news = self.news.max(News::Measured);
    }

    /// What failed before is over.
    pub fn got_on(&mut self) {
        if self.state.fault.is_some() {
            self.is_well();
            self.news = News::Changed;
        }
    }

    /// A step failed.
    pub fn failed(&mut self, failure: &Failure, held: bool) {
        self.state.fault = Some(failure.fault.number());
        self.state.message = Some(failure.message.clone());
        self.state.next_step = Some(failure.next_step.to_string());
        self.state.held = held;
        self.news = News::Changed;
    }

    /// An order holds the node.
    pub fn held(&mut self, message: &str) {
        self.state.message = Some(message.to_owned());
        self.state.held = true;
        self.news = News::Changed;
    }

    /// What was found of one subject of the hardware. Says whether that is news.
    pub fn found(&mut self, subject: &str, found: &[Finding]) -> bool {
        let (before, mut after): (Vec<Finding>, Vec<_>) = std::mem::take(&mut self.hardware)
            .into_iter()
            .partition(|finding| finding.subject == subject);
        after.extend_from_slice(found);
        self.hardware = after;
        let is_news = before != found;
        if is_news {
            self.news = News::Changed;
        }
        is_news
    }

    fn is_well(&mut self) {
        self.state.fault = None;
        self.state.message = None;
        self.state.next_step = None;
        self.state.held = false;
    }

    /// Puts a receipt into the outbox. It replaces an unsent receipt of this start, because it says more.
    pub fn receipt(&mut self, receipt: Receipt, is_news: bool) {
        self.receipts += 1;
        self.own = Some(Own {
            number: self.receipts,
            receipt,
            is_news: is_news || self.own.as_ref().is_some_and(|own| own.is_news),
        });
    }

    /// Adds receipts of earlier starts that nobody has taken, the oldest first.
    pub fn earlier(&mut self, receipts: Vec<String>) {
        self.earlier = receipts.into();
    }

    /// Adds the identity of this start and the present time to a report.
    pub fn stamp(&mut self, report: Report, uptime: Option<u64>) -> Report {
        Report {
            boot: self.boot.clone(),
            sequence: self.count(),
            uptime_seconds: uptime,
            hardware: self.hardware.clone(),
            ..report
        }
    }

    fn count(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Identifies what there is to send. As long as it does not change, the sender may sleep until its time.
    pub fn contents(&self) -> impl PartialEq + use<> {
        let own = self.own.as_ref().map(|own| own.number);
        (self.news, own, self.earlier.len())
    }

    /// Before a restart: everything that waits after a failure is sent once more.
    pub fn hurry(&mut self) {
        for trouble in &mut self.troubles {
            trouble.rest = None;
        }
    }

    /// Whether there are receipts that may still be taken.
    pub fn is_sending_receipts(&self) -> bool {
        self.to.is_some() && (self.own.is_some() || !self.earlier.is_empty())
    }

    /// The receipts that the next start must send, the oldest first.
    pub fn unsent(&mut self) -> Vec<String> {
        let own = self.own.as_ref().filter(|own| own.is_news);
        let own = own.map(|own| own.receipt.clone());
        let own = own.map(|receipt| json(&numbered(receipt, self.count())));
        self.earlier.iter().cloned().chain(own).collect()
    }

    /// What to send now, or how long to wait.
    pub fn next(&mut self, now: Instant, uptime: Option<u64>) -> Next {
        let Some(to) = self.to.clone() else {
            return Next::Wait(None);
        };
        let mut soonest: Option<Duration> = None;
        for turn in TURNS {
            let rest = self.troubles[turn as usize].rest.filter(|rest| *rest > now);
            let wait = match (turn, rest) {
                _ if !self.has(turn) => continue,
                (_, Some(rest)) => rest - now,
                (Turn::State, None) => self.until_due(now),
                (Turn::Earlier | Turn::Receipt, None) => Duration::ZERO,
            };
            if wait.is_zero() {
                return Next::Send(self.letter(turn, to, now, uptime));
            }
            soonest = Some(soonest.map_or(wait, |soonest| soonest.min(wait)));
        }
        Next::Wait(soonest)
    }

    fn has(&self, turn: Turn) -> bool {
        match turn {
            Turn::Earlier => !self.earlier.is_empty(),
            Turn::Receipt => self.own.is_some(),
            Turn::State => self.news != News::None,
        }
    }

    fn until_due(&self, now: Instant) -> Duration {
        match (self.news, self.due) {
            (News::Measured, Some(due)) => due.saturating_duration_since(now),
            _ => Duration::ZERO,
        }
    }

    fn letter(&mut self, turn: Turn, to: Destination, now: Instant, uptime: Option<u64>) -> Letter {
        let (mut news, mut number) = (News::None, 0);
        let json = match (turn, &self.own) {
            (Turn::Receipt, Some(own)) => {
                number = own.number;
                let receipt = own.receipt.clone();
                // The desk ignores a report whose number is lower than one that it already has.
                json(&numbered(receipt, self.count()))
            }
            (Turn::Earlier, _) => self.earlier.front().cloned().unwrap_or_default(),
            (Turn::State | Turn::Receipt, _) => {
                news = std::mem::take(&mut self.news);
                let chance = EVERY.mul_f64(0.4 * fastrand::f64());
                self.due = Some(now + EVERY.mul_f64(0.8) + chance);
                let report = self.state_of_work();
                json(&self.stamp(report, uptime))
            }
        };
        Letter {
            to,
            json,
            turn,
            news,
            number,
        }
    }

    fn state_of_work(&self) -> Report {
        let state = self.state.clone();
        Report {
            kind: Kind::Progress,
            stage: state.stage,
            percent: state.percent,
            bytes_per_second: state.bytes_per_second,
            seconds_left: state.seconds_left,
            fault: state.fault,
            message: state.message.or_else(|| self.about.message.clone()),
            next_step: state.next_step,
            held: state.held,
            ..self.about.clone()
        }
    }

    /// Notes whether a letter was taken.
    pub fn posted(&mut self, letter: &Letter, is_taken: bool, now: Instant) -> Outcome {
        let trouble = &mut self.troubles[letter.turn as usize];
        let before = trouble.failures;
        if is_taken {
            *trouble = Trouble::default();
            match letter.turn {
                Turn::Earlier => self.earlier.retain(|receipt| *receipt != letter.json),
                Turn::Receipt => {
                    self.own = self.own.take().filter(|own| own.number != letter.number);
                }
                Turn::State => (),
            }
            return match before {
                0 => Outcome::AsBefore,
                _ => Outcome::Over,
            };
        }
        trouble.failures = before.saturating_add(1);
        trouble.rest = Some(now + pause(trouble.failures, WAITS.0, WAITS.1));
        match letter.turn {
            Turn::Earlier if !self.earlier.is_empty() => self.earlier.rotate_left(1),
            Turn::State => self.news = self.news.max(letter.news),
            Turn::Earlier | Turn::Receipt => (),
        }
        match before {
            0 => Outcome::Trouble,
            _ => Outcome::AsBefore,
        }
    }
}

fn numbered(mut receipt: Receipt, sequence: u64) -> Receipt {
    receipt.report.sequence = sequence;
    receipt
}

/// Nothing in these reports can fail to be serialised.
fn json(report: &impl serde::Serialize) -> String {
    serde_json::to_string(report).unwrap_or_default()
}
