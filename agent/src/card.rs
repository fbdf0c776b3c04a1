//! Step 3, card: the configuration on it, and the place where this node's outcome is written.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use gild_boards::Board;
use log::{info, warn};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::arguments::Arguments;
use crate::config::{Config, ConfigError};
use crate::machine::Machine;

const LABEL: &str = "GILD";
const CONFIG: &str = "gild.toml";
/// Longest configuration that is read.
const MAX_CONFIG: u64 = 64 << 10;
const MOUNT_POINT: &str = "/run/card";
const BLOCK_DEVICES: &str = "/sys/class/block";
/// Disks the card cannot be: the kernel's own, and targets, which might carry an old copy of a card.
const NEVER_A_CARD: [&str; 6] = ["nvme", "ram", "loop", "zram", "mtdblock", "dm-"];
/// How often block devices are looked at.
const LOOK: std::time::Duration = std::time::Duration::from_millis(200);

/// The flasher card's FAT partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Kernel name, `mmcblk0p1`.
    pub name: String,
    uuid: String,
}

/// The card is there and cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// Mounting, reading or writing failed.
    #[error("{action} {what} on the card ({card}) failed: {error}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        what: String,
        /// The card's device.
        card: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// More than one looks like it.
    #[error(
        "several partitions are labelled {LABEL}: {0}; remove all cards but one, or name one by its UUID with gild.card="
    )]
    Several(String),
    /// What it says cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Finds the card and reads the configuration. Without a card, or with one that cannot be read, the kernel arguments
/// may suffice.
pub fn read(
    machine: &Machine,
    board: &Board,
    arguments: &Arguments,
) -> (Option<Card>, Result<Config, CardError>) {
    let card = match find(machine, board, arguments.get("card")) {
        Ok(Some(card)) => card,
        Ok(None) => {
            warn!("no card was found: no FAT partition is labelled {LABEL}");
            return (
                None,
                Config::parse(None, arguments).map_err(CardError::from),
            );
        }
        Err(error) => {
            let config = Config::parse(None, arguments);
            return (None, config.map_err(|_| error));
        }
    };
    info!("card {} ({})", card.name, card.uuid);
    let config = match card.config() {
        Ok(text) => Config::parse(Some(&text), arguments).map_err(CardError::from),
        Err(error) => Config::parse(None, arguments)
            .inspect(|_| warn!("{error}; the kernel arguments suffice"))
            .map_err(|_| error),
    };
    (Some(card), config)
}

/// Waits until the card shows, or for as long as it is worth it.
fn find(machine: &Machine, board: &Board, uuid: Option<&str>) -> Result<Option<Card>, CardError> {
    let deadline = Instant::now() + machine.patience() / 3;
    loop {
        let mut cards = look(uuid);
        if cards.len() > 1 {
            // The slot the board boots from settles it.
            cards.retain(|card| is_in_slot(card, board));
        }
        match cards.as_slice() {
            [card] => return Ok(Some(card.clone())),
            [] if Instant::now() >= deadline => return Ok(None),
            [] => machine.wait(LOOK),
            _ => return Err(CardError::Several(names(&cards))),
        }
    }
}

fn names(cards: &[Card]) -> String {
    cards
        .iter()
        .map(|card| format!("{} ({})", card.name, card.uuid))
        .collect::<Vec<_>>()
        .join(", ")
}

fn look(uuid: Option<&str>) -> Vec<Card> {
    let mut cards: Vec<Card> = fs::read_dir(BLOCK_DEVICES)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !NEVER_A_CARD.iter().any(|kind| name.starts_with(kind)))
        .filter_map(|name| {
            // A disk without a medium cannot be read, and is no card.
            let found = gild_probe::filesystem(&Path::new("/dev").join(&name)).ok()??;
            let wanted = match uuid {
                Some(uuid) => found.uuid.eq_ignore_ascii_case(uuid),
                None => found.label == LABEL,
            };
            (found.kind == "vfat" && wanted).then_some(Card {
                name,
                uuid: found.uuid,
            })
        })
        .collect();
    cards.sort_by(|one, other| one.name.cmp(&other.name));
    cards
}

fn is_in_slot(card: &Card, board: &Board) -> bool {
    fs::canonicalize(Path::new(BLOCK_DEVICES).join(&card.name)).is_ok_and(|path| {
        path.iter()
            .any(|part| part.to_str() == Some(board.card.controller.as_str()))
    })
}

impl Card {
    fn config(&self) -> Result<String, CardError> {
        let mounted = self.mount(MsFlags::MS_RDONLY)?;
        let failed = |error| self.failed("reading", CONFIG, error);
        let mut text = String::new();
        match File::open(mounted.path(CONFIG)) {
            Ok(file) => file.take(MAX_CONFIG).read_to_string(&mut text),
            // A card that says nothing: what is missing is named when it is missed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
        .map_err(failed)?;
        Ok(text)
    }

    /// Writes files, each whole or not at all.
    pub fn write(&self, files: &[(String, String)]) -> Result<(), CardError> {
        let mounted = self.mount(MsFlags::empty())?;
        for (name, text) in files {
            replace(&mounted.path(name), text)
                .map_err(|error| self.failed("writing", name, error))?;
        }
        Ok(())
    }

    fn mount(&self, flags: MsFlags) -> Result<Mounted, CardError> {
        let failed = |error| self.failed("mounting", "the file system", error);
        fs::create_dir_all(MOUNT_POINT).map_err(failed)?;
        mount(
            Some(&Path::new("/dev").join(&self.name)),
            MOUNT_POINT,
            Some("vfat"),
            flags | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID,
            None::<&str>,
        )
        .map_err(|error| failed(error.into()))?;
        Ok(Mounted)
    }

    fn failed(&self, action: &'static str, what: &str, error: io::Error) -> CardError {
        CardError::Io {
            action,
            what: what.to_owned(),
            card: self.name.clone(),
            error,
        }
    }
}

/// Replaces a file so that a power cut leaves the old one or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&beside, path)) {
        // Half a file helps nobody, and its space may be all there is.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    path.parent()
        .map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// The mounted card; unmounted when done, so that it can be pulled at any other time.
struct Mounted;

impl Mounted {
    #[allow(
        clippy::unused_self,
        reason = "a path is only good while the card is mounted"
    )]
    fn path(&self, name: &str) -> PathBuf {
        Path::new(MOUNT_POINT).join(name)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = umount2(MOUNT_POINT, MntFlags::empty()) {
            warn!("unmounting the card failed: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let card = tempfile::tempdir().expect("a directory");
        let path = card.path().join("gild-d83add123456.txt");
        replace(&path, "first").expect("a new file");
        replace(&path, "second").expect("a replaced file");
        assert_eq!(fs::read_to_string(&path).expect("the file"), "second");
        assert_eq!(fs::read_dir(card.path()).expect("the card").count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_leaves_nothing_beside_it() {
        let card = tempfile::tempdir().expect("a directory");
        let path = card.path().join("gild.txt");
        fs::create_dir_all(path.join("in-the-way")).expect("a directory in the way");
        replace(&path, "text").expect_err("a directory is in the way");
        assert_eq!(fs::read_dir(card.path()).expect("the card").count(), 1);
    }
}
