//! What a board's link and disk can do.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A board's link and disk. docs/bench.md says where the figures come from.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Model {
    pub name: String,
    pub cores: usize,
    /// Bits of file data that the link carries in a second.
    pub link: u64,
    /// From a request to the first byte of its answer.
    pub latency: Duration,
    /// Bytes that the disk writes in a second, and reads.
    pub write: u64,
    pub read: u64,
    /// How long a flush takes once everything is written.
    pub flush: Duration,
    /// Whether the disk can only write or read at a time, so that one waits for the other.
    pub is_shared: bool,
    /// The factor by which all times are stretched.
    pub stretch: u32,
}

impl Model {
    /// Without a given factor, time is stretched until this machine's cores can stand for the board's.
    pub fn of(name: &str, stretch: Option<u32>) -> Result<Self> {
        let (cores, link, write, read) = match name {
            "rpi5" => Some((4, 940, 430, 440)),
            "rock5b" => Some((8, 2350, 1900, 2500)),
            _ => None,
        }
        .with_context(|| format!("\"{name}\" is not a model; next: rpi5 or rock5b"))?;
        let own_cores = std::thread::available_parallelism()?.get();
        let needed = u32::try_from(usize::div_ceil(cores, own_cores))?;
        Ok(Self {
            name: name.to_owned(),
            cores,
            link: link * 1_000_000,
            latency: Duration::from_micros(200),
            write: write * 1_000_000,
            read: read * 1_000_000,
            flush: Duration::from_millis(10),
            is_shared: false,
            stretch: stretch.unwrap_or(needed).max(1),
        })
    }

    /// A disk that writes and reads at the same time, and one that does not.
    pub fn disks(&self) -> [Self; 2] {
        [false, true].map(|is_shared| Self {
            is_shared,
            ..self.clone()
        })
    }

    /// The rate to which the kernel shapes the link, bits a second. It includes the headers that the kernel counts: 66 bytes for each 1448
    /// of a file.
    pub fn shaped(&self) -> u64 {
        self.link / 1448 * (1448 + 66) / u64::from(self.stretch)
    }

    /// How long this many bytes take at this rate, bytes a second.
    pub fn time(&self, bytes: usize, rate: u64) -> Duration {
        Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate) * self.stretch
    }
}
