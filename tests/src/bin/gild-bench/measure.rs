//! Time, processor time and memory of a program and all it starts.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};

/// One run of one method.
#[derive(Clone, Debug)]
pub struct Run {
    /// Time on the wall.
    pub wall: Duration,
    /// Processor seconds of all its processes.
    pub cpu: f64,
    /// Share of the machine's processors that did anything, server and kernel included.
    pub busy: f64,
    /// Peak memory of its largest process, bytes.
    pub peak_rss: u64,
    /// What it wrote on its standard output.
    pub output: String,
}

#[derive(Serialize, Deserialize)]
struct Usage {
    wall: f64,
    cpu: f64,
    peak_rss: u64,
}

/// Runs a program through [`child`], so that only its own processes are counted.
pub fn run(scratch: &Path, program: &str, arguments: &[&str]) -> Result<Run> {
    let file = scratch.join("usage.json");
    let before = Jiffies::now()?;
    let output = Command::new(std::env::current_exe()?)
        .arg("measure")
        .arg(&file)
        .arg(program)
        .args(arguments)
        .output()
        .with_context(|| format!("starting {program}"))?;
    let busy = Jiffies::now()?.busy_since(&before);
    ensure!(
        output.status.success(),
        "{program} {arguments:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let usage: Usage = serde_json::from_slice(&fs::read(&file)?)?;
    Ok(Run {
        wall: Duration::from_secs_f64(usage.wall),
        cpu: usage.cpu,
        busy,
        peak_rss: usage.peak_rss,
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
    })
}

/// Runs the program and leaves what it used in a file.
pub fn child(usage: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    let start = Instant::now();
    let status = Command::new(program).args(arguments).status()?;
    let wall = start.elapsed().as_secs_f64();
    ensure!(status.success(), "{program} ended with {status}");
    let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: TimeVal| {
        let micros = Duration::from_micros(time.tv_usec().unsigned_abs());
        (Duration::from_secs(time.tv_sec().unsigned_abs()) + micros).as_secs_f64()
    };
    let usage_text = serde_json::to_vec(&Usage {
        wall,
        cpu: seconds(used.user_time()) + seconds(used.system_time()),
        peak_rss: used.max_rss().unsigned_abs() * 1024,
    })?;
    fs::write(usage, usage_text)?;
    Ok(())
}

/// The first line of /proc/stat.
struct Jiffies {
    idle: u64,
    all: u64,
}

impl Jiffies {
    fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
        let line = stat.lines().next().context("/proc/stat is empty")?;
        let fields: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .take(8)
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            // Idle and waiting for a disk.
            idle: fields[3] + fields[4],
            all: fields.iter().sum(),
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "a share")]
    fn busy_since(&self, before: &Self) -> f64 {
        let all = (self.all - before.all).max(1);
        1.0 - (self.idle - before.idle) as f64 / all as f64
    }
}
