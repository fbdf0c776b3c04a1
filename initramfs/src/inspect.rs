//! Reads a card back: what is on it, whether it is whole, what each board gets.
//!
//! Nothing here asks how the card was built: the partition table, the file system and every format are read from the
//! medium.

use std::io::{self, Read, Seek, SeekFrom};

use gild_card_format::agent_version::{self, AGENT_VERSION};
use gild_card_format::names::{CONFIG, LABEL, ORDER, ROLLBACK};
use gild_card_format::sums::{self, SUMS};
use gild_card_format::{GATE, Gate, PerBoard, counters};
use serde::Serialize;

use crate::fat::{self, Files};
use crate::layout;

mod boards;
mod starts;

pub use boards::{BoardReport, Eeprom, FirmwareReport, NO_EEPROM, NO_SPI, NO_U_BOOT, Spi};

/// Why a card cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Reading failed.
    #[error("reading the card failed: {0}")]
    Io(#[from] io::Error),
    /// Not even the first sector.
    #[error(
        "it is too short for a flasher card; next: give the file of `gild card build`, or the disk of a card"
    )]
    Short,
    /// No card.
    #[error(
        "it is not a flasher card: {0}; next: give the file that `gild card build` made, or the device with the card"
    )]
    NoCard(#[from] layout::TableError),
    /// A file system that cannot be read.
    #[error("the card's file system cannot be read: {0}")]
    FileSystem(io::Error),
}

/// What a card has.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// The disk's number, in hex digits.
    pub disk_id: String,
    /// The file system's number, as `blkid` shows it.
    pub volume_id: String,
    /// What is wrong with the card. Empty: it is whole.
    pub problems: Vec<String>,
    /// What the card does for each board.
    pub boards: Vec<BoardReport>,
    /// What the card lacks, with the consequence.
    pub missing: Vec<&'static str>,
    /// Files that the builder did not put there: nodes or other people wrote them.
    pub others: Vec<String>,
    /// The version of the agent, if the card says it.
    pub agent: Option<String>,
    /// `gild.toml`.
    #[serde(skip)]
    pub config: String,
    /// `gild-order.txt`, if it is there.
    #[serde(skip)]
    pub order: String,
    /// `rollback.env`: the least rollback counter that the card's agent takes, for each kind of board.
    #[serde(skip)]
    pub least_rollback: PerBoard<u64>,
    /// `gate.env`: the images that this card has seen finished.
    pub gate: Vec<String>,
    /// Files with their lengths.
    pub files: std::collections::BTreeMap<String, usize>,
}

/// Looks at a card.
pub fn inspect(disk: &mut (impl Read + Seek)) -> Result<Inspection, InspectError> {
    let mut sector = [0; 512];
    disk.seek(SeekFrom::Start(0))?;
    disk.read_exact(&mut sector)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => InspectError::Short,
            _ => InspectError::Io(error),
        })?;
    let table = layout::read_table(&sector)?;
    let mut problems = Vec::new();
    let end = disk.seek(SeekFrom::End(0))?;
    if table.start < layout::FAT_AT || table.start.saturating_add(table.length) > end {
        problems.push(format!(
            "the partition ({} bytes from byte {}) does not lie between byte {} and the end at {end}",
            table.length,
            table.start,
            layout::FAT_AT
        ));
    }
    let u_boot = boards::u_boot(disk, table.start, &mut problems)?;
    let volume = fat::read(disk, table.start, table.length).map_err(InspectError::FileSystem)?;
    if volume.label != LABEL {
        problems.push(format!(
            "its label is `{}`, and the agent looks for {LABEL}",
            volume.label
        ));
    }
    let files = &volume.files;
    let others = listed(files, &mut problems);
    starts::check(files, &mut problems);
    let boards = boards::reports(files, u_boot, &mut problems);
    let text = |name: &str| {
        files
            .get(name)
            .map(|content| String::from_utf8_lossy(content).into_owned())
            .unwrap_or_default()
    };
    let least_rollback = counters(files.get(ROLLBACK).map(Vec::as_slice));
    let least_rollback = least_rollback.unwrap_or_else(|error| {
        problems.push(error.to_string());
        PerBoard::default()
    });
    Ok(Inspection {
        disk_id: format!("{:08x}", table.disk_id),
        volume_id: format!("{:04X}-{:04X}", volume.id >> 16, volume.id & 0xffff),
        problems,
        missing: boards::missing(&boards),
        boards,
        others,
        agent: agent_version::in_file(&text(AGENT_VERSION)).map(str::to_owned),
        config: text(CONFIG),
        order: text(ORDER),
        least_rollback,
        gate: Gate::parse(&text(GATE))
            .to_text()
            .lines()
            .map(str::to_owned)
            .collect(),
        files: files
            .iter()
            .map(|(path, content)| (path.clone(), content.len()))
            .collect(),
    })
}

/// Compares the files with the card's own list, and gives those that are not on it.
fn listed(files: &Files, problems: &mut Vec<String>) -> Vec<String> {
    let text = files
        .get(SUMS)
        .map(|content| String::from_utf8_lossy(content));
    let sums = match text.map(|text| sums::read(&text)) {
        Some(Ok(sums)) => sums,
        Some(Err(error)) => {
            problems.push(error);
            return Vec::new();
        }
        None => {
            problems.push(format!(
                "{SUMS} is missing: no list says which files belong to the card"
            ));
            return Vec::new();
        }
    };
    for (path, digest) in &sums {
        match files.get(path) {
            None => problems.push(format!("{path} is missing")),
            Some(content) if sums::sha256(content) != *digest => {
                problems.push(format!(
                    "{path} is not what {SUMS} says: copy it again, or make a new card"
                ));
            }
            Some(_) => {}
        }
    }
    let known = |path: &str| sums.contains_key(path) || [SUMS, CONFIG].contains(&path);
    files.keys().filter(|path| !known(path)).cloned().collect()
}
