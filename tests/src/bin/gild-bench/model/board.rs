//! What a board's link and disk can do.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A board's link and disk. docs/bench.md says where the figures come from.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Model {
    pub name: String,
    pub cores: usize,
    /// Bits of files that the link carries in a second.
    pub link: u64,
    /// From a request to the first byte of its answer.
    pub latency: Duration,
    /// Bytes that the disk takes in a second, and gives.
    pub write: u64,
    pub read: u64,
    /// What a flush costs once all is written.
    pub flush: Duration,
    /// Whether the disk either writes or reads, so that the one waits for the other.
    pub is_shared: bool,
    /// How many times as long all that takes.
    pub stretch: u32,
}

impl Model {
    /// Time is stretched so that this machine's cores stand for the board's, or as asked.
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

    /// The disk that writes and reads at once, and the one that does not.
    pub fn disks(&self) -> [Self; 2] {
        [false, true].map(|is_shared| Self {
            is_shared,
            ..self.clone()
        })
    }

    /// What the kernel shapes the link to, in bits a second: with the headers that it counts, 66 bytes for 1448 of a file.
    pub fn shaped(&self) -> u64 {
        self.link / 1448 * (1448 + 66) / u64::from(self.stretch)
    }

    /// How long so many bytes take at this many in a second.
    pub fn time(&self, bytes: usize, rate: u64) -> Duration {
        Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate) * self.stretch
    }
}
