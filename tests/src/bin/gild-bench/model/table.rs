//! What the models' bench prints.

use std::time::Duration;

use anyhow::{Context, Result};

use super::board::Model;
use super::flash::Run;
use crate::{median, seconds, table};

/// On what.
pub fn machine(model: &Model, image: &str, rounds: usize) -> Result<()> {
    println!(
        "Model of {}: link {} Mbit/s with {} ms, disk {} MB/s written and {} MB/s read, {} ms for a flush; image {image}; on {} cores, \
         time stretched {} times; medians of {rounds} rounds, load before {}\n",
        model.name,
        model.link / 1_000_000,
        model.latency.as_secs_f64() * 1e3,
        model.write / 1_000_000,
        model.read / 1_000_000,
        model.flush.as_millis(),
        std::thread::available_parallelism()?,
        model.stretch,
        table::load()?
    );
    Ok(())
}

pub fn head() {
    println!(
        "| server | disk | wall, median (range) | write | verify | wire alone | disk alone | cores alone | wall / slowest | \
         core-seconds | flushes |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
}

/// All rounds with one server and one disk.
pub fn row(server: &str, model: &Model, runs: &[Run]) -> Result<()> {
    let last = runs.last().context("no rounds")?;
    let wire = over(last.fetched, model.link / 8);
    let written = over(last.written, model.write);
    let read = over(last.read_back, model.read);
    let disk = if model.is_shared {
        written + read
    } else {
        written.max(read)
    };
    let own_cores = std::thread::available_parallelism()?.get() as u64;
    let cores = median(runs.iter().map(|run| run.cores).collect());
    let cores_alone = cores / float(own_cores) / f64::from(model.stretch);
    let times =
        |time: fn(&Run) -> Duration| seconds(runs.iter().map(|run| time(run) / model.stretch));
    let walls = times(|run| run.wall);
    let shortest = walls.iter().copied().fold(f64::INFINITY, f64::min);
    let longest = walls.iter().copied().fold(0.0, f64::max);
    let wall = median(walls);
    println!(
        "| {server} | {} | {wall:.2} s ({shortest:.2} to {longest:.2}) | {:.2} s | {:.2} s | {wire:.2} s | {disk:.2} s | {cores_alone:.2} s \
         | {:.2} | {cores:.1} | {} |",
        if model.is_shared {
            "writes or reads"
        } else {
            "writes and reads at once"
        },
        median(times(|run| run.write)),
        median(times(|run| run.verify)),
        wall / wire.max(disk).max(cores_alone),
        runs.iter().map(|run| run.flushes).max().unwrap_or(0),
    );
    Ok(())
}

fn over(bytes: u64, rate: u64) -> f64 {
    float(bytes) / float(rate)
}

#[expect(clippy::cast_precision_loss, reason = "a time")]
fn float(number: u64) -> f64 {
    number as f64
}
