//! What a receipt says.

use std::collections::BTreeMap;
use std::fs;

use gild_faults::Fault;
use gild_flash::{Outcome, Report as Flashed};
use gild_report::Report;
use serde::Serialize;

use crate::boot_order::{BootOrder, Kind};
use crate::discards::Discard;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::node::Node;
use crate::reporter::about;

/// The outcome of a disk that was written.
pub const FLASHED: &str = "flashed";
/// The outcome of one that needed nothing.
pub const ALREADY_DONE: &str = "already-done";
/// The outcome of a node that an order holds, so that its disk is not written.
pub const HELD: &str = "held";
/// The outcome of a dry run.
pub const DRY_RUN: &str = "dry-run";

/// What happened to one node.
#[derive(Clone, Debug, Serialize)]
pub struct Receipt {
    /// What every report says.
    #[serde(flatten)]
    pub report: Report,
    /// `already-right`, `staged`, `written`, or why it is unchanged. Missing if the story did not get that far.
    pub boot_order: Option<String>,
    /// What changes on the board with that: settings with their old and new values.
    pub boot_order_changes: Vec<String>,
    /// What was done to the disk. Missing after a fault, which may come before the first byte or after the last.
    pub bytes_fetched: Option<u64>,
    pub bytes_written: Option<u64>,
    pub bytes_read_back: Option<u64>,
    pub bytes_zeroed: Option<u64>,
    /// How much the disk was asked to discard before it was written.
    pub bytes_discarded: Option<u64>,
    /// Whether the disk was written without a discard, because earlier discards did not end.
    pub discard_left_out: bool,
    /// How much of the image is holes, and how much of them was read back.
    pub hole_bytes: Option<u64>,
    pub hole_bytes_read_back: Option<u64>,
    pub chunks: Option<usize>,
    pub chunks_fetched: Option<u64>,
    pub chunks_kept: Option<usize>,
    /// By stage.
    pub seconds: BTreeMap<&'static str, f64>,
    pub target: Option<Disk>,
    pub peak_rss_bytes: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Disk {
    pub device: String,
    pub model: String,
    pub serial: String,
    pub size: u64,
}

/// What was done to the disk. All zero if nothing had to be done.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    bytes_fetched: u64,
    bytes_written: u64,
    bytes_read_back: u64,
    bytes_zeroed: u64,
    bytes_discarded: u64,
    hole_bytes: u64,
    hole_bytes_read_back: u64,
    chunks: usize,
    chunks_fetched: u64,
    chunks_kept: usize,
}

impl Counts {
    const fn of(report: &Flashed) -> Self {
        Self {
            bytes_fetched: report.bytes_fetched,
            bytes_written: report.bytes_written,
            bytes_read_back: report.bytes_read_back,
            bytes_zeroed: report.bytes_zeroed,
            bytes_discarded: report.bytes_discarded,
            hole_bytes: report.hole_bytes,
            hole_bytes_read_back: report.hole_bytes_read_back,
            chunks: report.chunks,
            chunks_fetched: report.chunks_fetched,
            chunks_kept: report.chunks_kept,
        }
    }
}

/// What is known of the node now.
pub fn make(machine: &Machine, node: &Node, failure: Option<&Failure>, held: bool) -> Receipt {
    let flashed = node.report.as_ref();
    let nothing = failure.is_none().then(Counts::default);
    let counts = flashed.map(Counts::of).or(nothing);
    let left = node.boot_order.as_ref().and_then(BootOrder::trouble);
    let left = left.filter(|left| left.kind != Kind::Waits);
    let outcome = match (failure, flashed.map(|report| report.outcome)) {
        (Some(_), _) => "fault",
        (None, _) if node.dry_run.is_some() => DRY_RUN,
        (None, _) if node.held.is_some() => HELD,
        (None, Some(Outcome::Flashed)) => FLASHED,
        (None, Some(Outcome::AlreadyDone) | None) => ALREADY_DONE,
    };
    let about = about(node);
    let report = Report {
        kind: gild_report::Kind::Receipt,
        stage: Some(machine.stage().name().to_owned()),
        outcome: Some(outcome.to_owned()),
        fault: failure
            .map(|failure| failure.fault)
            .or(left
                .filter(|left| !left.is_expected())
                .map(|_| Fault::BootOrder))
            .map(Fault::number),
        message: failure
            .map(|failure| failure.message.clone())
            .or(left.map(|left| left.reason.clone()))
            .or(node.held.clone())
            .or(about.message.clone()),
        next_step: failure
            .map(|failure| failure.next_step.to_string())
            .or(left.map(|left| left.next_step.to_owned())),
        held,
        ..about
    };
    Receipt {
        report: machine.reporter.stamp(report),
        boot_order: node.boot_order.as_ref().map(BootOrder::to_string),
        boot_order_changes: node.boot_order_changes.clone(),
        bytes_fetched: counts.map(|counts| counts.bytes_fetched),
        bytes_written: counts.map(|counts| counts.bytes_written),
        bytes_read_back: counts.map(|counts| counts.bytes_read_back),
        bytes_zeroed: counts.map(|counts| counts.bytes_zeroed),
        bytes_discarded: counts.map(|counts| counts.bytes_discarded),
        discard_left_out: node.discard == Discard::LeftOut,
        hole_bytes: counts.map(|counts| counts.hole_bytes),
        hole_bytes_read_back: counts.map(|counts| counts.hole_bytes_read_back),
        chunks: counts.map(|counts| counts.chunks),
        chunks_fetched: counts.map(|counts| counts.chunks_fetched),
        chunks_kept: counts.map(|counts| counts.chunks_kept),
        seconds: machine
            .stages()
            .into_iter()
            .map(|(stage, time)| (stage.name(), (time.as_secs_f64() * 1000.0).round() / 1000.0))
            .collect(),
        target: node.target.as_ref().map(|target| Disk {
            device: target.path.display().to_string(),
            model: target.model.clone(),
            serial: target.serial.clone(),
            size: target.size,
        }),
        peak_rss_bytes: peak_rss(&fs::read_to_string("/proc/self/status").unwrap_or_default()),
    }
}

/// The most memory this process ever held, from `/proc/self/status`.
pub fn peak_rss(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
