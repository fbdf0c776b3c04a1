//! The figures.

use std::fs;
use std::time::Duration;

use anyhow::Result;

use crate::node::Outcome;

/// One run.
pub struct Row {
    pub outcomes: Vec<Outcome>,
    /// The server's processor time.
    pub busy: Duration,
    /// Of the link, in bits a second.
    pub link: u64,
}

impl Row {
    /// All bytes of all nodes divided by the time from the first start to the last end, bytes a second.
    pub fn total(&self) -> f64 {
        let began = self.outcomes.iter().map(|outcome| outcome.began);
        let ended = self
            .outcomes
            .iter()
            .map(|outcome| outcome.began + outcome.seconds);
        self.bytes() / (ended.fold(0.0, f64::max) - began.fold(f64::MAX, f64::min))
    }

    fn bytes(&self) -> f64 {
        self.outcomes
            .iter()
            .map(|outcome| float(outcome.bytes))
            .sum()
    }

    fn slowest(&self) -> f64 {
        self.outcomes
            .iter()
            .map(|outcome| outcome.seconds)
            .fold(0.0, f64::max)
    }

    fn mean(&self) -> f64 {
        let sum: f64 = self.outcomes.iter().map(|outcome| outcome.seconds).sum();
        sum / float(self.outcomes.len() as u64)
    }
}

/// No count here comes near the limit of a float.
#[allow(clippy::cast_precision_loss)]
fn float(count: u64) -> f64 {
    count as f64
}

/// The machine that all of this shares.
pub fn machine() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{cores} cores for all, Linux {}", kernel.trim()))
}

pub fn head() {
    println!(
        "| server | nodes | MB each | sum, MB/s | of the link | of one node alone | slowest / mean | repeated requests | server, core-seconds per GB |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
}

pub fn row(server: &str, row: &Row, alone: f64) {
    let nodes = row.outcomes.len();
    let each = row.bytes() / float(nodes as u64) / 1e6;
    let total = row.total();
    let repeated: u32 = row.outcomes.iter().map(|outcome| outcome.repeated).sum();
    println!(
        "| {server} | {nodes} | {each:.0} | {:.1} | {:.3} | {:.3} | {:.2} | {repeated} | {:.2} |",
        total / 1e6,
        total * 8.0 / float(row.link),
        total / alone,
        row.slowest() / row.mean(),
        row.busy.as_secs_f64() / (row.bytes() / 1e9),
    );
}
