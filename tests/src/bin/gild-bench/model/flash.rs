//! One flash, in the network stack of the board.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use gild_card_format::ServerUrl;
use gild_disk::{BlockDevice, SystemClock};
use gild_flash::{Job, Options, Outcome, flash};
use gild_format::manifest::{Manifest, manifest_sha256};
use gild_http::Access;
use gild_share::Share;
use gild_source::Backoff;
use gild_tests::processor_time;
use serde::{Deserialize, Serialize};

use super::board::Model;
use super::disk::Disk;
use super::far::Far;

/// Twice the cores, at most 8. It is the same for both boards.
const WORKERS: usize = 8;

/// What is flashed, from where, onto what.
#[derive(Debug, Deserialize, Serialize)]
pub struct Task {
    pub model: Model,
    /// The folder of the image, as a share's address.
    pub url: String,
    pub manifest: PathBuf,
}

/// The result. Times are stretched.
#[derive(Debug, Deserialize, Serialize)]
pub struct Run {
    pub wall: Duration,
    /// Time of each stage.
    pub write: Duration,
    pub verify: Duration,
    /// Core-seconds of the engine and the network stack below it.
    pub cores: f64,
    pub flushes: u64,
    pub fetched: u64,
    pub written: u64,
    pub read_back: u64,
}

/// Carries out the task and prints the result as JSON.
pub fn run(task: &str) -> Result<()> {
    let Task {
        model,
        url,
        manifest,
    } = serde_json::from_str(task)?;
    let manifest = Manifest::parse(&std::fs::read(manifest)?)?;
    let file = Scratch::new(manifest.raw_size)?;
    let target = BlockDevice::open_file(&file.0, manifest.sector_size)?;
    let disk = Disk::new(model.clone(), target);
    let url = ServerUrl::parse(&url).map_err(|reason| anyhow!(reason))?;
    let share = Share::new(
        &[url],
        &Access::new(None, None)?,
        gild_source::Options::default(),
        Arc::new(Backoff::attempts(5)),
    );
    let cores = processor_time::of_tree(std::process::id())?;
    let start = Instant::now();
    let source = Far {
        source: share.open(&manifest.stored_file, manifest.stored_size)?,
        latency: model.latency * model.stretch,
    };
    let report = flash(&Job {
        manifest: &manifest,
        manifest_sha256: manifest_sha256(&manifest.to_json()),
        source: &source,
        target: &disk,
        clock: &SystemClock::new(),
        observer: &(),
        options: &Options {
            workers: Some(WORKERS),
            ..Options::default()
        },
    })?;
    let wall = start.elapsed();
    let cores = processor_time::of_tree(std::process::id())?.saturating_sub(cores);
    ensure!(report.outcome == Outcome::Flashed);
    let stage = |name| {
        let stages = report.stages.iter();
        stages
            .filter(|(stage, _)| stage.name() == name)
            .map(|(_, time)| *time)
            .sum()
    };
    let run = Run {
        wall,
        write: stage("write"),
        verify: stage("verify"),
        cores: cores.as_secs_f64(),
        flushes: disk.flushes(),
        fetched: report.bytes_fetched,
        written: report.bytes_written,
        read_back: report.bytes_read_back,
    };
    println!("{}", serde_json::to_string(&run)?);
    Ok(())
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
