//! Step 3, card: its configuration, and the place where this node's outcome is written.

pub mod folder;
pub mod values;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gild_boards::Board;
use gild_card_format::names::{CONFIG, LABEL};
use gild_card_format::{Arguments, Config, ConfigError};
use gild_faults::{Fault, HasFault};
use gild_probe::ProbeError;
use log::{info, warn};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::failure::StepError;
use crate::machine::Machine;

/// Longest file that is read.
const MAX_TEXT: u64 = 64 << 10;
const MOUNT_POINT: &str = "/run/card";
/// The device tree's devices, with or without a driver.
const DEVICES: &str = "/sys/bus/platform/devices";
/// How long to wait for cards if the board's own slot does not exist, as on a virtual board.
const SETTLE: Duration = Duration::from_secs(1);
const BLOCK_DEVICES: &str = "/sys/class/block";
/// Disks that cannot be the card: those of the kernel itself, and targets, which may carry an old copy of a card.
const NEVER_A_CARD: [&str; 6] = ["nvme", "ram", "loop", "zram", "mtdblock", "dm-"];
/// How often block devices are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// The flasher card's FAT partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Kernel name, `mmcblk0p1`.
    pub name: String,
    uuid: String,
    /// Whether it sits in the slot that the board boots from.
    in_slot: bool,
    /// The same, or the kernel knows no such slot.
    pub is_boot_medium: bool,
    /// If set, the agent writes only the outcome and the console's log to it.
    pub is_dry: bool,
}

/// There is a card, but it cannot be used.
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
    /// Several partitions look like the card.
    #[error(
        "several partitions are labelled {LABEL}: {0}; next: remove all cards except one, or name one by its UUID with gild.card="
    )]
    Several(String),
    /// A medium is in the board's slot, and it cannot be read. It may be the card.
    #[error(
        "what is in the slot that the board boots from cannot be read ({0}), and no other card stands for it; next: seat the card again, or \
         replace it; or name another one by its UUID with gild.card="
    )]
    Slot(String),
    /// Its configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl HasFault for CardError {
    /// A card that does not say where the image is has the same effect as a server that is off.
    fn fault(&self) -> Fault {
        Fault::ServerUnreachable
    }
}

impl StepError for CardError {
    fn next_step(&self) -> &'static str {
        "put the card in order: its gild.toml names the server and the public key"
    }
}

/// Finds the card and reads the configuration. Without a card, kernel arguments may be enough. If the card cannot be read,
/// they are not: its rules about orders, disks and the boot order would be ignored. A disk may be started all the same.
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
        Err(error) => return (None, Err(error)),
    };
    info!("card {} ({})", card.name, card.uuid);
    let config = card
        .config()
        .and_then(|text| Ok(Config::parse(Some(&text), arguments)?));
    (Some(card), config)
}

/// Waits for the card, as long as it may still appear.
fn find(machine: &Machine, board: &Board, uuid: Option<&str>) -> Result<Option<Card>, CardError> {
    let start = Instant::now();
    let deadline = start + machine.patience() / 3;
    let has_slot = Path::new(DEVICES).join(&board.card.controller).exists();
    let last_resort = match uuid {
        // A copy of the card has the same UUID.
        _ if has_slot => deadline,
        Some(_) => start,
        None => start + SETTLE,
    };
    loop {
        let now = Instant::now();
        let found = look(board, uuid);
        if let Some(mut card) = choose(found, now >= last_resort, uuid.is_some())? {
            card.is_boot_medium = card.in_slot || !has_slot;
            if !card.is_boot_medium {
                warn!("the card is not in the slot that the board boots from");
            }
            return Ok(Some(card));
        }
        if now >= deadline {
            return Ok(None);
        }
        machine.wait(LOOK);
    }
}

/// What a look at all block devices has found.
#[derive(Clone, Default)]
struct Found {
    cards: Vec<Card>,
    /// Why a medium in the slot that the board boots from cannot be read.
    unreadable: Option<String>,
}

/// Takes a card in the slot at once. Any other is the last resort, because an old copy of a card, for example on an eMMC, may appear before
/// the card itself. If the card in the slot cannot be read, an old copy must not decide what is written. `is_named`: by a kernel argument.
fn choose(found: Found, is_last_resort: bool, is_named: bool) -> Result<Option<Card>, CardError> {
    let (mut in_slot, elsewhere): (Vec<_>, Vec<_>) =
        found.cards.into_iter().partition(|card| card.in_slot);
    if in_slot.is_empty() && is_last_resort {
        if let Some(error) = found.unreadable.filter(|_| !is_named) {
            return Err(CardError::Slot(error));
        }
        in_slot = elsewhere;
    }
    if in_slot.len() > 1 {
        return Err(CardError::Several(names(&in_slot)));
    }
    Ok(in_slot.pop())
}

fn names(cards: &[Card]) -> String {
    cards
        .iter()
        .map(|card| format!("{} ({})", card.name, card.uuid))
        .collect::<Vec<_>>()
        .join(", ")
}

fn look(board: &Board, uuid: Option<&str>) -> Found {
    let names = fs::read_dir(BLOCK_DEVICES)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !NEVER_A_CARD.iter().any(|kind| name.starts_with(kind)));
    let mut all = Found::default();
    for name in names {
        let in_slot = is_in_slot(&name, board);
        match gild_probe::filesystem(&Path::new("/dev").join(&name)) {
            Ok(Some(found)) => {
                let wanted = match uuid {
                    Some(uuid) => found.uuid.eq_ignore_ascii_case(uuid),
                    None => found.label == LABEL,
                };
                if found.kind == "vfat" && wanted {
                    all.cards.push(Card {
                        in_slot,
                        is_boot_medium: false,
                        is_dry: false,
                        uuid: found.uuid,
                        name,
                    });
                }
            }
            // A drive without a medium cannot be read either, so elsewhere an error says nothing.
            Err(error) if in_slot && is_of_the_medium(&error) => {
                all.unreadable = Some(error.to_string());
            }
            Ok(None) | Err(_) => {}
        }
    }
    all.cards.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

/// Whether a medium is there, and fails. A device that has just gone is none.
fn is_of_the_medium(error: &ProbeError) -> bool {
    match error {
        ProbeError::Open { source, .. } | ProbeError::Read { source, .. } => !matches!(
            source.raw_os_error().map(Errno::from_raw),
            Some(Errno::ENOENT | Errno::ENXIO | Errno::ENODEV | Errno::ENOMEDIUM)
        ),
        _ => false,
    }
}

fn is_in_slot(name: &str, board: &Board) -> bool {
    fs::canonicalize(Path::new(BLOCK_DEVICES).join(name)).is_ok_and(|path| {
        path.iter()
            .any(|part| part.to_str() == Some(board.card.controller.as_str()))
    })
}

impl Card {
    fn config(&self) -> Result<String, CardError> {
        // If the file is missing, the text is empty. The step that needs a value reports that.
        self.read(CONFIG)
    }

    /// Reads a text file. A file that does not exist counts as empty.
    pub fn read(&self, name: &str) -> Result<String, CardError> {
        let mounted = self.mount(MsFlags::MS_RDONLY)?;
        let mut text = String::new();
        match File::open(mounted.path(name)) {
            Ok(file) => file.take(MAX_TEXT + 1).read_to_string(&mut text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
        .and_then(|length| {
            if length as u64 <= MAX_TEXT {
                return Ok(());
            }
            // The part that was not read might say the opposite.
            let reason = format!("it has more than {MAX_TEXT} bytes");
            Err(io::Error::other(reason))
        })
        .map_err(|error| self.failed("reading", name, error))?;
        Ok(text)
    }

    /// Writes files, each completely or not at all.
    pub fn write(&self, files: &[(String, String)]) -> Result<(), CardError> {
        for (name, text) in files {
            self.replace(name, text.as_bytes())
                .map_err(|error| self.failed("writing", name, error))?;
        }
        Ok(())
    }

    /// Replaces a file and reads it back from the medium. A worn card may take writes and keep the old content. The file is never removed on the
    /// way: for some files to be absent means that nothing is forbidden.
    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        for _ in 0..2 {
            replace(&self.mounted(MsFlags::empty())?.path(name), content)?;
            if self.holds(name, content)? {
                return Ok(());
            }
            warn!("the card does not give back {name} as it was written");
        }
        Err(io::Error::other(
            "the card does not give back what was written; next: write the card again, or another one if it takes no writes any more",
        ))
    }

    fn holds(&self, name: &str, content: &[u8]) -> io::Result<bool> {
        let mounted = self.mounted(MsFlags::MS_RDONLY)?;
        let mut found = Vec::new();
        File::open(mounted.path(name))?
            .take(content.len() as u64 + 1)
            .read_to_end(&mut found)?;
        Ok(found == content)
    }

    fn mounted(&self, flags: MsFlags) -> io::Result<Mounted> {
        self.mount(flags).map_err(io::Error::other)
    }

    /// Reads this part of the disk on which the partition lies. A Rock 5B finds its U-Boot there.
    pub fn read_disk(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let partition = fs::canonicalize(Path::new(BLOCK_DEVICES).join(&self.name))?;
        let disk = partition
            .parent()
            .filter(|_| partition.join("partition").exists())
            .and_then(Path::file_name)
            .ok_or_else(|| io::Error::other("the card has no partition table"))?;
        let mut bytes = vec![0; length];
        File::open(Path::new("/dev").join(disk))?.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn mount(&self, flags: MsFlags) -> Result<Mounted, CardError> {
        let failed = |error| self.failed("mounting", "the file system", error);
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        fs::create_dir_all(MOUNT_POINT).map_err(failed)?;
        mount(
            Some(&Path::new("/dev").join(&self.name)),
            MOUNT_POINT,
            Some("vfat"),
            flags | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID,
            None::<&str>,
        )
        .map_err(|error| failed(error.into()))?;
        Ok(Mounted { _turn: turn })
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
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| rename(&beside, path)) {
        // Half a file is useless, and it may take the last space on the card.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    Ok(())
}

/// Gives a file another name, which is safe when this returns.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    // FAT writes the new place and length of a renamed file with the file, not with its folder. Until then the name leads to the bytes of
    // the replaced file, which are free already.
    File::open(to)?.sync_all()?;
    to.parent()
        .map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Only one thread may mount the card, because there is one mount point and the watcher of stalls also writes to the card.
static TURN: Mutex<()> = Mutex::new(());

/// The mounted card. It is unmounted when this is dropped, so that it can be pulled at any other time.
struct Mounted {
    _turn: MutexGuard<'static, ()>,
}

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

    fn card(name: &str, in_slot: bool) -> Card {
        Card {
            name: name.to_owned(),
            uuid: "0000-0000".to_owned(),
            in_slot,
            is_boot_medium: in_slot,
            is_dry: false,
        }
    }

    #[test]
    fn the_card_in_the_slot_wins_and_any_other_is_the_last_resort() {
        let (slot, emmc) = (card("mmcblk1p1", true), card("mmcblk0p1", false));
        let usb = card("sda1", false);
        let chosen = |cards: &[&Card], is_last_resort| {
            let cards = cards.iter().copied().cloned().collect();
            let unreadable = None;
            choose(Found { cards, unreadable }, is_last_resort, false)
        };
        for is_last_resort in [false, true] {
            let found = chosen(&[&emmc, &slot], is_last_resort).expect("one in the slot");
            assert_eq!(found.as_ref(), Some(&slot));
            assert_eq!(chosen(&[], is_last_resort).expect("no card"), None);
            chosen(&[&slot, &slot], is_last_resort).expect_err("two in the slot");
        }
        assert_eq!(chosen(&[&emmc, &usb], false).expect("wait"), None);
        assert_eq!(chosen(&[&emmc], true).expect("one"), Some(emmc.clone()));
        chosen(&[&emmc, &usb], true).expect_err("two elsewhere");
    }

    #[test]
    fn no_copy_of_a_card_stands_for_one_in_the_slot_that_cannot_be_read() {
        let (slot, emmc) = (card("mmcblk1p1", true), card("mmcblk0p1", false));
        let chosen = |cards: &[&Card], is_last_resort, is_named| {
            let cards = cards.iter().copied().cloned().collect();
            let unreadable = Some("EIO".to_owned());
            choose(Found { cards, unreadable }, is_last_resort, is_named)
        };
        assert_eq!(chosen(&[&emmc], false, false).expect("wait"), None);
        for elsewhere in [&[&emmc][..], &[]] {
            let error = chosen(elsewhere, true, false).expect_err("it may be the card");
            assert!(error.to_string().contains("next: seat the card"), "{error}");
        }
        let named = chosen(&[&emmc], true, true).expect("an argument names it");
        assert_eq!(named, Some(emmc.clone()));
        let found = chosen(&[&emmc, &slot], true, false).expect("one partition can be read");
        assert_eq!(found, Some(slot));
    }

    #[test]
    fn an_error_of_the_medium_is_not_an_empty_slot() {
        let failed = |errno: Errno| ProbeError::Read {
            path: PathBuf::from("/dev/mmcblk0p1"),
            source: errno.into(),
        };
        assert!(is_of_the_medium(&failed(Errno::EIO)));
        assert!(is_of_the_medium(&failed(Errno::ETIMEDOUT)));
        assert!(!is_of_the_medium(&failed(Errno::ENOMEDIUM)));
        assert!(!is_of_the_medium(&failed(Errno::ENOENT)));
    }

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let card = tempfile::tempdir().expect("a directory");
        let path = card.path().join("gild-d83add123456.txt");
        replace(&path, b"first").expect("a new file");
        replace(&path, b"second").expect("a replaced file");
        assert_eq!(fs::read_to_string(&path).expect("the file"), "second");
        assert_eq!(fs::read_dir(card.path()).expect("the card").count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_leaves_nothing_beside_it() {
        let card = tempfile::tempdir().expect("a directory");
        let path = card.path().join("gild.txt");
        fs::create_dir_all(path.join("in-the-way")).expect("a directory in the way");
        replace(&path, b"text").expect_err("a directory is in the way");
        assert_eq!(fs::read_dir(card.path()).expect("the card").count(), 1);
    }
}
