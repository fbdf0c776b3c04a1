//! Step 10, boot order: point the board's firmware at the NVMe disk, but only after the disk is good.
//!
//! There is one interface, [`set`], with an implementation for each board. If the work is already done, the next call finds that. If a
//! power cut interrupted it, the next call completes it.

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
use log::{Level, info, log, warn};

use crate::card::Card;
use crate::card::folder::Folder;
use crate::machine::Machine;
use crate::node::Node;

/// How often a change is tried before it has failed.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

const BY_HAND_OR_CARD: &str = "set the boot order by hand, or replace the card";
/// Only copies of boot flashes are large enough to fill a card.
const MAKE_ROOM: &str = "the card is full: copy flash-*.bin.zst and flash-*.bin from it to another computer, and delete them on the card";

/// The outcome for the boot order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootOrder {
    /// The firmware looks at the disk first.
    AlreadyRight,
    /// The board's ROM changes it at the restart.
    Staged,
    /// The agent has changed it.
    Written,
    /// It is unchanged.
    Left(BootOrderError),
}

impl BootOrder {
    /// Whether another start with this card would not improve anything.
    pub fn is_settled(&self) -> bool {
        self.trouble()
            .is_none_or(|trouble| matches!(trouble.kind, Kind::Known | Kind::NotPossible))
    }

    /// Why it is unchanged, if it is.
    pub fn trouble(&self) -> Option<&BootOrderError> {
        match self {
            Self::Left(error) => Some(error),
            Self::AlreadyRight | Self::Staged | Self::Written => None,
        }
    }
}

/// In the words of the receipt.
impl fmt::Display for BootOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadyRight => "already-right",
            Self::Staged => "staged",
            Self::Written => "written",
            Self::Left(error) if error.is_worth_another_try() => {
                return write!(f, "failed: {error}");
            }
            Self::Left(error) if error.kind == Kind::Waits => "waits-for-proof",
            Self::Left(error) => return write!(f, "not-possible: {error}"),
        })
    }
}

/// Why the boot order is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BootOrderError {
    /// Whether another attempt may help, and whether the operator already knows.
    pub kind: Kind,
    /// What was found.
    pub reason: String,
    /// What the operator does about it.
    pub next_step: &'static str,
}

/// Kinds of [`BootOrderError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The order is meant to stay, or the card was made without firmware files. The operator knows.
    Known,
    /// Nothing this agent does will change it.
    NotPossible,
    /// Something went wrong, but the next attempt may succeed.
    Failed,
    /// The same, but the flash is half written: only this card can start the board now.
    Unfinished,
    /// It will be changed once the disk has proven that it starts.
    Waits,
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

    fn waits() -> Self {
        Self {
            kind: Kind::Waits,
            reason: "the order is changed once the disk has started".to_owned(),
            next_step: "leave this card in the slot: the node restarts to it once, when its image has started",
        }
    }

    /// Whether the operator already knows why the order is unchanged, or the reason ends by itself.
    pub fn is_expected(&self) -> bool {
        matches!(self.kind, Kind::Known | Kind::Waits)
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
    /// This board's name in the names of files.
    id: String,
    card: &'a dyn Folder,
    /// Whether the board's firmware can start from the card.
    is_boot_medium: bool,
    policy: BootOrderPolicy,
    /// What is known of the disk. Until it has proven that it starts, it must not become the only medium that the firmware tries.
    standing: Standing,
    /// Called with a description of each change on the board.
    changed: &'a dyn Fn(String),
    alive: &'a dyn Fn(),
}

/// What is known of the disk that the firmware is to look at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The disk is not written yet. Nothing may change.
    Planned,
    /// Its image has not proven yet that it starts. Only what the start needs may change.
    OnTrial,
    /// The same, but the board came back without a proof.
    TrialCameBack,
    /// Its image has started.
    Proven,
    /// The same, but the board came back without having started the disk.
    CameBack,
}

impl Standing {
    /// Whether the board came back without starting the disk.
    fn came_back(self) -> bool {
        matches!(self, Self::CameBack | Self::TrialCameBack)
    }

    fn is_proven(self) -> bool {
        matches!(self, Self::Proven | Self::CameBack)
    }
}

/// Points the firmware at the disk. A failure never stops the node, because the disk is good and the card's gate starts it even if the
/// firmware tries the card first. Also returns descriptions of the changes.
///
/// If a board came back without starting its finished disk, it may need a setting that other boards do not need.
pub fn set(
    machine: &Machine,
    board: &Board,
    policy: Option<BootOrderPolicy>,
    node: &Node,
    standing: Standing,
) -> (BootOrder, Vec<String>) {
    let changes = RefCell::new(Vec::new());
    let set = |policy, card: &Card| {
        let job = Job {
            board,
            id: node.id(),
            card,
            is_boot_medium: card.is_boot_medium,
            policy,
            standing,
            changed: &|change| changes.borrow_mut().push(change),
            alive: &|| machine.alive(),
        };
        let firmware = of(board.boot_firmware);
        let wait = |time| machine.wait(time);
        try_to_set(&wait, &changes, &|| firmware.set(&job, card))
    };
    let outcome = match (policy, &node.card) {
        (Some(policy), _) if policy.keep => kept(
            "gild.toml says so (boot_order.keep)",
            "leave the card in the slot: it starts the disk; or set the boot order by hand",
        ),
        (_, None) => kept(
            "there is no card with firmware files",
            "set the boot order by hand: the node was started without a card",
        ),
        (None, Some(_)) => BootOrder::Left(BootOrderError {
            kind: Kind::Failed,
            reason: "gild.toml on the card cannot be used, so what it says of the boot order is not known".to_owned(),
            next_step: "put the card in order: its gild.toml names the server and the public key",
        }),
        (Some(policy), Some(card)) => set(policy, card),
    };
    let changes = match outcome {
        BootOrder::Staged | BootOrder::Written => changes.into_inner(),
        BootOrder::AlreadyRight | BootOrder::Left(_) => Vec::new(),
    };
    for change in &changes {
        info!("boot order change: {change}");
    }
    for (level, line) in lines(&outcome) {
        log!(level, "{line}");
    }
    (outcome, changes)
}

/// Whether the order will be changed once the disk has proven that it starts.
pub fn is_pending(machine: &Machine, board: &Board, policy: BootOrderPolicy, node: &Node) -> bool {
    let (outcome, _) = set(machine, board, Some(policy), node, Standing::Planned);
    // What failed now may work during the next start from the card.
    !outcome.is_settled()
}

/// The order stays as it is. The maker of the card knows why.
fn kept(reason: &str, next_step: &'static str) -> BootOrder {
    BootOrder::Left(BootOrderError::known(reason, next_step))
}

/// Tries a few times, and keeps the changes of the last attempt alone.
fn try_to_set(
    wait: &dyn Fn(Duration),
    changes: &RefCell<Vec<String>>,
    set: &dyn Fn() -> Result<BootOrder, BootOrderError>,
) -> BootOrder {
    let mut attempt = 1;
    loop {
        changes.borrow_mut().clear();
        match set() {
            Ok(outcome) => return outcome,
            Err(error) if error.is_worth_another_try() && attempt < ATTEMPTS => {
                warn!("boot order: {error}; trying again");
                wait(PAUSE * attempt);
                attempt += 1;
            }
            Err(error) => return BootOrder::Left(error),
        }
    }
}

/// What the agent needs from a kind of boot firmware.
trait Firmware {
    /// Makes the firmware of this board try the disk first and the card after it.
    fn set(&self, job: &Job, card: &Card) -> Result<BootOrder, BootOrderError>;

    /// Whether the card can give this firmware the order for one restart.
    fn knows_reboot_order(&self) -> bool;

    /// Whether it runs the card's script, which starts a disk on trial once if the agent leaves a file for that.
    fn runs_script(&self) -> bool;
}

fn of(firmware: BootFirmware) -> &'static dyn Firmware {
    match firmware {
        BootFirmware::RpiEeprom => &rpi5::Eeprom,
        BootFirmware::Rk3588Spi => &rock5b::SpiFlash,
    }
}

/// Whether the board's firmware runs the card's script, which starts a disk on trial once if the agent leaves a file for that.
pub fn runs_script(board: &Board) -> bool {
    of(board.boot_firmware).runs_script()
}

/// Whether the card can give the board's firmware the order for one restart.
pub fn knows_reboot_order(board: &Board) -> bool {
    of(board.boot_firmware).knows_reboot_order()
}

/// The outcome, as the console says it.
fn lines(outcome: &BootOrder) -> Vec<(Level, String)> {
    let Some(trouble) = outcome.trouble() else {
        return vec![(Level::Info, format!("boot order {outcome}"))];
    };
    let (level, what) = match trouble.kind {
        Kind::Waits => return vec![(Level::Info, format!("boot order: {trouble}"))],
        Kind::Known => (Level::Warn, format!("boot order left as it is: {trouble}")),
        Kind::NotPossible | Kind::Failed | Kind::Unfinished => {
            let fault = gild_faults::Fault::BootOrder.number();
            (Level::Error, format!("FAULT {fault}: {trouble}"))
        }
    };
    vec![
        (level, what),
        (level, format!("next: {}", trouble.next_step)),
    ]
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

    fn left(kind: Kind) -> BootOrder {
        BootOrder::Left(BootOrderError {
            kind,
            reason: "it is so".to_owned(),
            next_step: "do this",
        })
    }

    /// The receipt says it, the operator's console says it, and the node comes back to its card as long as it is not settled.
    #[test]
    fn each_outcome_is_said_and_counts_as_settled_or_not() {
        let next = || "next: do this".to_owned();
        let fault = || (Level::Error, "FAULT 8: it is so".to_owned());
        let info = |line: &str| vec![(Level::Info, line.to_owned())];
        for (outcome, is_settled, in_receipt, on_console) in [
            (
                BootOrder::AlreadyRight,
                true,
                "already-right",
                info("boot order already-right"),
            ),
            (BootOrder::Staged, true, "staged", info("boot order staged")),
            (
                BootOrder::Written,
                true,
                "written",
                info("boot order written"),
            ),
            (
                left(Kind::Known),
                true,
                "not-possible: it is so",
                vec![
                    (Level::Warn, "boot order left as it is: it is so".to_owned()),
                    (Level::Warn, next()),
                ],
            ),
            (
                left(Kind::NotPossible),
                true,
                "not-possible: it is so",
                vec![fault(), (Level::Error, next())],
            ),
            (
                left(Kind::Failed),
                false,
                "failed: it is so",
                vec![fault(), (Level::Error, next())],
            ),
            (
                left(Kind::Unfinished),
                false,
                "failed: it is so",
                vec![fault(), (Level::Error, next())],
            ),
            (
                left(Kind::Waits),
                false,
                "waits-for-proof",
                info("boot order: it is so"),
            ),
        ] {
            assert_eq!(outcome.is_settled(), is_settled, "{outcome:?}");
            assert_eq!(outcome.to_string(), in_receipt);
            assert_eq!(lines(&outcome), on_console);
            let is_expected = matches!(&outcome, BootOrder::Left(error) if error.is_expected());
            let says_so = outcome == left(Kind::Known) || outcome == left(Kind::Waits);
            assert_eq!(is_expected, says_so, "{outcome:?}");
        }
    }

    /// A change that failed may go right a moment later. What is known not to work is not tried again.
    #[test]
    fn what_may_go_right_is_tried_three_times_with_pauses_that_grow() {
        let (waits, calls) = (RefCell::new(Vec::new()), RefCell::new(0));
        let tried = |outcomes: &[Result<BootOrder, BootOrderError>]| {
            let changes = RefCell::new(Vec::new());
            waits.borrow_mut().clear();
            calls.replace(0);
            let outcome = try_to_set(&|time| waits.borrow_mut().push(time), &changes, &|| {
                changes.borrow_mut().push("a change".to_owned());
                let call = calls.replace_with(|calls| *calls + 1);
                outcomes[call].clone()
            });
            assert_eq!(changes.into_inner(), ["a change"], "of the last attempt");
            (outcome, waits.borrow().len())
        };
        let failed = |kind| match left(kind) {
            BootOrder::Left(error) => Err(error),
            outcome => Ok(outcome),
        };
        let worn = || failed(Kind::Failed);
        let half = || failed(Kind::Unfinished);
        assert_eq!(tried(&[Ok(BootOrder::Staged)]), (BootOrder::Staged, 0));
        for kind in [Kind::Known, Kind::NotPossible, Kind::Waits] {
            assert_eq!(tried(&[failed(kind)]), (left(kind), 0));
        }
        let cured = [worn(), half(), Ok(BootOrder::Written)];
        assert_eq!(tried(&cured), (BootOrder::Written, 2));
        assert_eq!(
            tried(&[worn(), worn(), half()]),
            (left(Kind::Unfinished), 2)
        );
        assert_eq!(*waits.borrow(), [PAUSE, PAUSE * 2]);
    }

    /// The node has no card, and without one nothing could change the order. The reason shows that the code did not get that far.
    #[test]
    fn what_the_configuration_keeps_is_not_looked_at() {
        let machine = Machine::new(Led::start(), Duration::from_secs(1));
        let board = gild_boards::by_name("rock5b").expect("a board");
        for (keep, reason) in [(true, "boot_order.keep"), (false, "there is no card")] {
            let policy = BootOrderPolicy {
                keep,
                ..BootOrderPolicy::default()
            };
            let (outcome, changes) = set(
                &machine,
                board,
                Some(policy),
                &Node::default(),
                Standing::Proven,
            );
            assert!(changes.is_empty(), "{changes:?}");
            let trouble = outcome.trouble().expect("the order is as it was");
            assert_eq!(trouble.kind, Kind::Known);
            assert!(trouble.reason.contains(reason), "{trouble}");
            let is_pending = is_pending(&machine, board, policy, &Node::default());
            assert!(!is_pending, "the node need not come back for it");
        }
    }

    /// The script is what starts the Rock 5B again, so nothing that the agent leaves on the card reorders its restart.
    #[test]
    fn a_rock_5b_takes_no_order_of_a_restart_from_its_card() {
        let board = gild_boards::by_name("rock5b").expect("a board");
        assert!(!knows_reboot_order(board));
    }
}
