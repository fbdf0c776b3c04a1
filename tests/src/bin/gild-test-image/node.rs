//! A boot of the image from its disk, and what the node reported of it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gild_tests::command::{command, run};
use gild_tests::scene::Scene;

/// A boot takes 2 minutes on a quiet machine and 10 on a busy one. Nothing is measured with it.
pub const PATIENCE: Duration = Duration::from_mins(25);
/// The first partition of every image: 16 MiB free and 512 MiB for the firmware, then the root.
pub const ROOT_OFFSET: u64 = 528 << 20;

/// `key=value` lines of the test's service in the image.
pub struct Report(String);

/// What the node wrote on its disk in this boot. The console must not show any of the secrets.
pub fn report(scene: &Scene, console: &str, number: u32, secrets: &[&str]) -> Result<Report> {
    ensure!(
        !console.contains("gild-witness: FAILED"),
        "gild-reprovision failed:\n{console}"
    );
    for secret in secrets {
        ensure!(!console.contains(secret), "a secret is on the console");
    }
    let report = Report(file_of_root(
        &scene.nvme(),
        &format!("/var/lib/gild-witness/boot-{number}"),
    )?);
    std::fs::write(scene.path().join(format!("report-{number}.txt")), &report.0)?;
    Ok(report)
}

/// A file of the root file system, read from the disk of a board that is off or stopped. The disk may have no partition table.
pub fn file_of_root(disk: &Path, path: &str) -> Result<String> {
    let text = debugfs(disk, &format!("cat {path}"))?;
    ensure!(
        !text.is_empty(),
        "the node's disk has no {path}, or it is empty"
    );
    Ok(text)
}

/// The length of the root file system according to its superblock.
pub fn size_of_root(disk: &Path) -> Result<u64> {
    let statistics = debugfs(disk, "stats -h")?;
    let number = |name: &str| -> Result<u64> {
        let line = statistics.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.with_context(|| name.to_owned())?.trim().parse()?)
    };
    Ok(number("Block count:")? * number("Block size:")?)
}

fn debugfs(disk: &Path, request: &str) -> Result<String> {
    let device = format!("{}?offset={ROOT_OFFSET}", disk.display());
    let output = run(command("debugfs").args(["-c", "-R", request, &device]))?;
    Ok(String::from_utf8(output)?)
}

impl Report {
    /// All values of a key.
    pub fn all(&self, key: &str) -> Vec<&str> {
        let value = |line| str::strip_prefix(line, key)?.strip_prefix('=');
        self.0.lines().filter_map(value).collect()
    }
}
