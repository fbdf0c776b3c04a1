//! What the bench prints: Markdown, so that it can be quoted.

use std::fs;

use anyhow::{Context, Result};

use crate::image::Image;
use crate::measure::Run;
use crate::method::Method;
use crate::stages::Stage;
use crate::target::Target;
use crate::{median, seconds};

/// On what.
pub fn machine(image: &Image, target: &Target) -> Result<()> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("reading /proc/cpuinfo")?;
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    let manifest = &image.manifest;
    let data = manifest.data_raw_bytes();
    println!(
        "{} x {model}, load before {}; image: {} of data, {} of zeros, {} stored for the data; onto {}\n",
        std::thread::available_parallelism()?,
        load()?,
        mebibytes(data),
        mebibytes(manifest.raw_size - data),
        mebibytes(manifest.data_stored_bytes()),
        if target.is_device() {
            "a loop device over a file"
        } else {
            "a file"
        },
    );
    Ok(())
}

/// What else the machine did in the last minute.
pub fn load() -> Result<String> {
    let load = fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
    Ok(load.split(' ').next().unwrap_or_default().to_owned())
}

/// The methods beside each other.
pub fn methods(image: &Image, methods: &[Method], runs: &[Vec<Run>]) {
    let wall = |runs: &[Run]| median(seconds(runs.iter().map(|run| run.wall)));
    let first = runs.first().map_or(0.0, |runs| wall(runs));
    println!(
        "| method | wall, median (range) | times gild | core-seconds | machine busy | largest process | \
         fetched | hashed | written | read back |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (method, runs) in methods.iter().zip(runs) {
        let walls = seconds(runs.iter().map(|run| run.wall));
        let least = walls.iter().copied().fold(f64::INFINITY, f64::min);
        let most = walls.iter().copied().fold(0.0, f64::max);
        let peak = runs.iter().map(|run| run.peak_rss).max().unwrap_or(0);
        let [fetched, hashed, written, read] = per_data_byte(image, *method, runs);
        println!(
            "| {} | {:.2} s ({least:.2} to {most:.2}) | {:.2} | {:.1} | {:.0} % | {} | {fetched:.2} | {hashed:.2} \
             | {written:.2} | {read:.2} |",
            method.name(),
            wall(runs),
            wall(runs) / first,
            median(runs.iter().map(|run| run.cpu).collect()),
            100.0 * median(runs.iter().map(|run| run.busy).collect()),
            mebibytes(peak),
        );
    }
    println!(
        "\nThe last four columns: bytes per byte of data in the image. gild counts its own, the others follow"
    );
    println!(
        "from what their commands do. Medians of {} interleaved rounds.\n",
        runs.first().map_or(0, Vec::len)
    );
    if let Some(run) = runs.first().and_then(|runs| runs.last()) {
        println!("The last report of gild:\n\n```\n{}```\n", run.output);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio")]
fn per_data_byte(image: &Image, method: Method, runs: &[Run]) -> [f64; 4] {
    let manifest = &image.manifest;
    let (data, raw, stored) = (
        manifest.data_raw_bytes(),
        manifest.raw_size,
        manifest.stored_size,
    );
    let bytes = match method {
        Method::Gild | Method::Other => ["fetched", "hashed", "written", "read back"]
            .map(|name| runs.last().map_or(0, |run| counted(&run.output, name))),
        Method::Dd => [stored, raw, raw, raw],
        // The bmap maps the data chunks, and a hash is over what is mapped.
        Method::Bmaptool => [stored, data, data, 0],
    };
    bytes.map(|bytes| bytes as f64 / data as f64)
}

/// A number from the summary of `gild flash`.
fn counted(output: &str, name: &str) -> u64 {
    let line = output
        .lines()
        .find_map(|line| line.trim().strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}

/// The stages alone.
#[expect(clippy::cast_precision_loss, reason = "a rate")]
pub fn stages(stages: &[Stage]) {
    println!("| stage alone | bytes | time | MB/s |\n|---|---|---|---|");
    for stage in stages {
        println!(
            "| {} | {} | {:.2} s | {:.0} |",
            stage.name,
            mebibytes(stage.bytes),
            stage.seconds,
            stage.bytes as f64 / stage.seconds / 1e6
        );
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
