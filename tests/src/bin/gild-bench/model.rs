//! The engine between a wire and a disk of a board, which are modelled: each takes the time for a transfer that its rate
//! asks for, and sleeps it. The engine, its decoding and its hashing are real, on this machine's cores.
//!
//! This machine may have fewer cores than the board, and others may use them. So the time of the wire and the disk can be
//! stretched, until cores do not matter; what is printed is divided by that again.
//!
//! What the disk holds lies in memory. Not modelled: a disk's own cache, whose writes are fast until it is full, and
//! what a wire loses.

mod disk;
mod lane;
mod wire;

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use gild_disk::{BlockDevice, SystemClock};
use gild_flash::{Job, Options, Outcome, Report, flash};
use gild_format::manifest::manifest_sha256;
use gild_source::FileSource;
use gild_tests::processor_time;

use crate::image::{self, Image};
use crate::{median, seconds, table};
use disk::Disk;
use wire::Wire;

/// Of both boards: twice the cores, at most 8.
const WORKERS: usize = 8;

/// A board's link and disk.
#[derive(Clone, Copy)]
pub struct Model {
    name: &'static str,
    cores: usize,
    /// Bytes that the link carries in a second.
    link: u64,
    /// From a request to the first byte of its answer.
    latency: Duration,
    /// Bytes that the disk takes in a second, and gives.
    write: u64,
    read: u64,
    /// What a flush costs once all is written.
    flush: Duration,
    /// Whether the disk either writes or reads, so that the one waits for the other.
    is_shared: bool,
    /// How many times as long all that takes.
    stretch: u32,
}

const BOARDS: [Model; 2] = [
    Model {
        name: "rpi5",
        cores: 4,
        link: 940_000_000 / 8,
        latency: Duration::from_micros(200),
        write: 430_000_000,
        read: 440_000_000,
        flush: Duration::from_millis(10),
        is_shared: false,
        stretch: 1,
    },
    Model {
        name: "rock5b",
        cores: 8,
        link: 2_350_000_000 / 8,
        latency: Duration::from_micros(200),
        write: 1_900_000_000,
        read: 2_500_000_000,
        flush: Duration::from_millis(10),
        is_shared: false,
        stretch: 1,
    },
];

/// One flash.
struct Run {
    wall: Duration,
    cores: f64,
    flushes: u64,
    report: Report,
}

/// Flashes so often onto the disk of this board, as one that writes and reads at once, and as one that does not, in turn.
/// Time is stretched so that this machine's cores stand for the board's, or as asked.
pub fn bench(name: &str, rounds: usize, stretch: Option<u32>) -> Result<()> {
    let Some(board) = BOARDS.iter().find(|board| board.name == name) else {
        let names = BOARDS.map(|board| board.name).join(" or ");
        bail!("\"{name}\" is not a model; next: {names}");
    };
    let own_cores = std::thread::available_parallelism()?.get();
    let stretch = match stretch {
        Some(stretch) => stretch.max(1),
        None => u32::try_from(board.cores.div_ceil(own_cores))?,
    };
    let image = image::published()?;
    let models = [false, true].map(|is_shared| Model {
        is_shared,
        stretch,
        ..*board
    });
    let mut runs = models.map(|_| Vec::new());
    for round in 0..rounds {
        for (model, runs) in models.iter().zip(&mut runs) {
            let run = model.flash(&image)?;
            let wall = (run.wall / stretch).as_secs_f64();
            eprintln!("round {}: {wall:.2} s", round + 1);
            runs.push(run);
        }
    }
    println!(
        "Model of {name}: link {} MB/s with {} ms, disk {} MB/s written and {} MB/s read, {} ms for a flush; on {own_cores} cores, \
         time stretched {stretch} times; medians of {rounds} rounds, load after {}\n",
        board.link / 1_000_000,
        board.latency.as_secs_f64() * 1e3,
        board.write / 1_000_000,
        board.read / 1_000_000,
        board.flush.as_millis(),
        table::load()?
    );
    println!(
        "| disk | wall, median (range) | write | verify | wire alone | disk alone | cores alone | wall / slowest | \
         core-seconds | flushes |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (model, runs) in models.iter().zip(&runs) {
        model.print(runs)?;
    }
    Ok(())
}

impl Model {
    fn flash(&self, image: &Image) -> Result<Run> {
        let manifest = &image.manifest;
        let file = Scratch::new(manifest.raw_size)?;
        let disk = Disk::new(
            *self,
            BlockDevice::open_file(&file.0, manifest.sector_size)?,
        );
        let stored = FileSource::open(&image.folder().join(&manifest.stored_file))?;
        let source = Wire::new(*self, stored);
        let options = Options {
            workers: Some(WORKERS),
            ..Options::default()
        };
        let cores = processor_time::of_tree(std::process::id())?;
        let start = Instant::now();
        let report = flash(&Job {
            manifest,
            manifest_sha256: manifest_sha256(&manifest.to_json()),
            source: &source,
            target: &disk,
            clock: &SystemClock::new(),
            observer: &(),
            options: &options,
        })?;
        let wall = start.elapsed();
        let cores = processor_time::of_tree(std::process::id())?.saturating_sub(cores);
        ensure!(report.outcome == Outcome::Flashed);
        Ok(Run {
            wall,
            cores: cores.as_secs_f64(),
            flushes: disk.flushes(),
            report,
        })
    }

    fn print(&self, runs: &[Run]) -> Result<()> {
        let report = &runs.last().context("no rounds")?.report;
        let wire = over(report.bytes_fetched, self.link);
        let written = over(report.bytes_written, self.write);
        let read = over(report.bytes_read_back, self.read);
        let disk = if self.is_shared {
            written + read
        } else {
            written.max(read)
        };
        let cores = median(runs.iter().map(|run| run.cores).collect());
        let cores_alone = cores
            / float(std::thread::available_parallelism()?.get() as u64)
            / f64::from(self.stretch);
        let walls = seconds(runs.iter().map(|run| run.wall / self.stretch));
        let least = walls.iter().copied().fold(f64::INFINITY, f64::min);
        let most = walls.iter().copied().fold(0.0, f64::max);
        let wall = median(walls);
        let stage = |name| {
            median(seconds(runs.iter().map(|run| {
                let stages = run.report.stages.iter();
                stages
                    .filter(|(stage, _)| stage.name() == name)
                    .map(|(_, time)| *time / self.stretch)
                    .sum()
            })))
        };
        println!(
            "| {} | {wall:.2} s ({least:.2} to {most:.2}) | {:.2} s | {:.2} s | {wire:.2} s | {disk:.2} s | {cores_alone:.2} s \
             | {:.2} | {cores:.1} | {} |",
            if self.is_shared {
                "writes or reads"
            } else {
                "writes and reads at once"
            },
            stage("write"),
            stage("verify"),
            wall / wire.max(disk).max(cores_alone),
            runs.iter().map(|run| run.flushes).max().unwrap_or(0),
        );
        Ok(())
    }
}

impl Model {
    /// How long so many bytes take at this many in a second.
    fn time(&self, bytes: usize, rate: u64) -> Duration {
        Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate) * self.stretch
    }
}

fn over(bytes: u64, rate: u64) -> f64 {
    float(bytes) / float(rate)
}

#[expect(clippy::cast_precision_loss, reason = "a time")]
fn float(number: u64) -> f64 {
    number as f64
}

/// A file in memory, gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(size: u64) -> Result<Self> {
        let path = PathBuf::from(format!("/dev/shm/gild-bench-{}", std::process::id()));
        let scratch = Self(path);
        File::create(&scratch.0)?.set_len(size)?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            eprintln!("removing {}: {error}", self.0.display());
        }
    }
}
