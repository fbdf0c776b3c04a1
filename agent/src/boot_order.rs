//! Step 10, boot order: the board's firmware is pointed at the NVMe disk, after the disk is good and not before.
//!
//! One seam, [`set`], with an implementation for each board. What has been done already is found done; what a power cut
//! interrupted is completed by the next call.

mod backup;
mod environment;
mod firmware;
mod mark;
mod nor;
mod packed;
mod rock5b;
mod rpi5;
#[cfg(test)]
pub mod stand_in;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::time::Duration;

use gild_boards::{Board, BootFirmware};
#[cfg(test)]
use gild_boards_testkit as vendor;
use gild_card_format::BootOrderPolicy;
use log::{error, info, warn};

use crate::card::Card;
use crate::card::folder::Folder;
use crate::machine::Machine;
use crate::node::Node;

/// Attempts at a change that failed.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

const BY_HAND_OR_CARD: &str = "set the boot order by hand, or replace the card";
/// What takes the room on a card are the copies of boot flashes.
const MAKE_ROOM: &str = "the card is full: copy flash-*.bin.zst and flash-*.bin from it to another computer, and delete them on the card";

/// What became of the boot order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootOrder {
    /// The firmware looks at the disk first.
    AlreadyRight,
    /// The board's ROM changes it at the restart.
    Staged,
    /// It was changed.
    Written,
    /// It is as it was.
    Left(BootOrderError),
}

impl BootOrder {
    /// Why it is as it was.
    pub fn trouble(&self) -> Option<&BootOrderError> {
        match self {
            Self::Left(error) => Some(error),
            Self::AlreadyRight | Self::Staged | Self::Written => None,
        }
    }
}

/// As the receipt says it.
impl fmt::Display for BootOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadyRight => "already-right",
            Self::Staged => "staged",
            Self::Written => "written",
            Self::Left(error) if error.is_worth_another_try() => {
                return write!(f, "failed: {error}");
            }
            Self::Left(error) => return write!(f, "not-possible: {error}"),
        })
    }
}

/// Why the boot order is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BootOrderError {
    /// Whether another attempt is of use, and whether the operator knows.
    pub kind: Kind,
    /// What was found.
    pub reason: String,
    /// What the operator does about it.
    pub next_step: &'static str,
}

/// Kinds of [`BootOrderError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is meant to stay so, or the card was made without firmware files: whoever made it knows.
    Known,
    /// Nothing this agent does will change it.
    NotPossible,
    /// Something went wrong that may go right the next time.
    Failed,
    /// The same, and the flash is half written: what starts the board now is this card.
    Unfinished,
}

impl BootOrderError {
    fn known(reason: &str, next_step: &'static str) -> Self {
        Self {
            kind: Kind::Known,
            reason: reason.to_owned(),
            next_step,
        }
    }

    fn not_possible(reason: impl Into<String>, next_step: &'static str) -> Self {
        Self {
            kind: Kind::NotPossible,
            reason: reason.into(),
            next_step,
        }
    }

    fn failed(reason: String) -> Self {
        Self {
            kind: Kind::Failed,
            reason,
            next_step: BY_HAND_OR_CARD,
        }
    }

    fn unfinished(reason: String) -> Self {
        Self {
            kind: Kind::Unfinished,
            reason,
            next_step: "leave this card in the slot: the boot flash is half written and only this card can start the board; the next start tries again",
        }
    }

    fn is_worth_another_try(&self) -> bool {
        matches!(self.kind, Kind::Failed | Kind::Unfinished)
    }
}

/// The card failed.
impl From<io::Error> for BootOrderError {
    fn from(error: io::Error) -> Self {
        Self {
            next_step: match error.kind() {
                io::ErrorKind::StorageFull => MAKE_ROOM,
                _ => BY_HAND_OR_CARD,
            },
            ..Self::failed(error.to_string())
        }
    }
}

/// What both implementations work with.
struct Job<'a> {
    board: &'a Board,
    /// The name of this one board in the names of files.
    id: String,
    card: &'a dyn Folder,
    /// Whether the board's firmware can start from the card.
    is_boot_medium: bool,
    policy: BootOrderPolicy,
    /// Whether the board came back without having started its finished disk.
    came_back: bool,
    /// Takes what is changed on the board, for people.
    changed: &'a dyn Fn(String),
    alive: &'a dyn Fn(),
}

/// Points the firmware at the disk. It never keeps the node from going on: the disk is good, and the card's gate starts
/// it even where the firmware looks at the card first.
///
/// A board that came back without having started its finished disk may lack a setting that others can do without.
pub fn set(
    machine: &Machine,
    board: &Board,
    policy: BootOrderPolicy,
    node: &mut Node,
    came_back: bool,
) -> BootOrder {
    let changes = RefCell::new(Vec::new());
    let outcome = try_to_set(machine, board, policy, node, came_back, &changes);
    node.boot_order_changes = match outcome {
        BootOrder::Staged | BootOrder::Written => changes.into_inner(),
        BootOrder::AlreadyRight | BootOrder::Left(_) => Vec::new(),
    };
    for change in &node.boot_order_changes {
        info!("boot order change: {change}");
    }
    told(outcome)
}

fn try_to_set(
    machine: &Machine,
    board: &Board,
    policy: BootOrderPolicy,
    node: &Node,
    came_back: bool,
    changes: &RefCell<Vec<String>>,
) -> BootOrder {
    if policy.keep {
        let next_step =
            "leave the card in the slot: it starts the disk; or set the boot order by hand";
        return BootOrder::Left(BootOrderError::known(
            "gild.toml says so (boot_order.keep)",
            next_step,
        ));
    }
    let Some(card) = &node.card else {
        let next_step = "set the boot order by hand: the node was started without a card";
        return BootOrder::Left(BootOrderError::known(
            "there is no card with firmware files",
            next_step,
        ));
    };
    let job = Job {
        board,
        id: node.id(),
        card,
        is_boot_medium: card.is_boot_medium,
        policy,
        came_back,
        changed: &|change| changes.borrow_mut().push(change),
        alive: &|| machine.alive(),
    };
    let firmware = of(board.boot_firmware);
    let mut attempt = 1;
    loop {
        changes.borrow_mut().clear();
        match firmware.set(&job, card) {
            Ok(outcome) => return outcome,
            Err(error) if error.is_worth_another_try() && attempt < ATTEMPTS => {
                warn!("boot order: {error}; trying again");
                machine.wait(PAUSE * attempt);
                attempt += 1;
            }
            Err(error) => return BootOrder::Left(error),
        }
    }
}

/// What the agent asks of a kind of boot firmware.
trait Firmware {
    /// Has the firmware of this board look at the disk first, and at the card after it.
    fn set(&self, job: &Job, card: &Card) -> Result<BootOrder, BootOrderError>;

    /// Whether it takes the order of a restart from the card.
    fn knows_reboot_order(&self) -> bool;
}

fn of(firmware: BootFirmware) -> &'static dyn Firmware {
    match firmware {
        BootFirmware::RpiEeprom => &rpi5::Eeprom,
        BootFirmware::Rk3588Spi => &rock5b::SpiFlash,
    }
}

/// Whether the board's firmware takes the order of a restart from the card.
pub fn knows_reboot_order(board: &Board) -> bool {
    of(board.boot_firmware).knows_reboot_order()
}

fn told(outcome: BootOrder) -> BootOrder {
    match outcome.trouble() {
        None => info!("boot order {outcome}"),
        Some(trouble) if trouble.kind == Kind::Known => {
            warn!("boot order left as it is: {trouble}");
            warn!("to do: {}", trouble.next_step);
        }
        Some(trouble) => {
            error!("FAULT {}: {trouble}", gild_flash::Fault::BootOrder.number());
            error!("to do: {}", trouble.next_step);
        }
    }
    outcome
}

/// The board's serial number as a part of a file's name, else this.
pub fn file_id(serial: Option<String>, otherwise: &str) -> String {
    serial
        .map(|serial| {
            let word = |c: &char| c.is_ascii_alphanumeric();
            serial.chars().filter(word).take(32).collect::<String>()
        })
        .filter(|serial| !serial.is_empty())
        .unwrap_or_else(|| otherwise.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::led::Led;

    #[test]
    fn a_full_card_says_what_to_delete() {
        let full = BootOrderError::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(
            full.next_step.contains("flash-*.bin.zst"),
            "{}",
            full.next_step
        );
        let other = BootOrderError::from(io::Error::from(io::ErrorKind::ReadOnlyFilesystem));
        assert!(!other.next_step.contains("flash-"), "{}", other.next_step);
        assert_eq!([full.kind, other.kind], [Kind::Failed; 2]);
    }

    /// A node without a card has nothing to change the order with: what is told shows how far it got.
    #[test]
    fn what_the_configuration_keeps_is_not_looked_at() {
        let machine = Machine::new(Led::start(), Duration::from_secs(1));
        let board = gild_boards::by_name("rock5b").expect("a board");
        for (keep, reason) in [(true, "boot_order.keep"), (false, "there is no card")] {
            let policy = BootOrderPolicy {
                keep,
                ..BootOrderPolicy::default()
            };
            let outcome = set(&machine, board, policy, &mut Node::default(), false);
            let trouble = outcome.trouble().expect("the order is as it was");
            assert_eq!(trouble.kind, Kind::Known);
            assert!(trouble.reason.contains(reason), "{trouble}");
        }
    }
}
