//! Starts a disk on trial in a way that works only once, so that a failed start leads back to this agent.

use std::time::Duration;

use gild_boards::Board;
use gild_card_format::TRIAL;
use gild_disk::{AlignedBuffer, Target};
use gild_faults::{Fault, HasFault};
use gild_format::record::{RECORD_LENGTH, RECORD_OFFSET, Record, State};
use log::{info, warn};

use crate::boot_order;
use crate::card::folder::Folder;
use crate::consent::TRIAL_STARTS;
use crate::failure::{Remedy, StepError};
use crate::gate;

/// After this many holds, an image that has had its starts gets another one: an hour, if a hold is a minute.
const PAUSE: u32 = 60;
/// The longest such pause, in the same unit: a day.
const LONGEST: u32 = 24 * PAUSE;

/// Why a disk on trial is not started.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The image has had its starts, and the share has no other image.
    #[error(
        "image {image_id} was started {starts} times and has not proven that it starts; the share has no other one, and the same one is tried again {} minutes after the agent's start",
        pause.as_secs().div_ceil(60)
    )]
    Exhausted {
        /// The image.
        image_id: String,
        /// How often it was started.
        starts: u32,
        /// When it gets another start, counted from the agent's start.
        pause: Duration,
    },
    /// The record cannot be written.
    #[error("{action} the record on {disk}: {reason}")]
    Record {
        /// What was being done.
        action: &'static str,
        /// The disk.
        disk: String,
        /// What came of it.
        reason: String,
    },
}

impl HasFault for TrialError {
    fn fault(&self) -> Fault {
        match self {
            Self::Exhausted { .. } => Fault::BootOrder,
            Self::Record { .. } => Fault::TargetFailed,
        }
    }
}

impl StepError for TrialError {
    fn next_step(&self) -> &'static str {
        match self {
            Self::Exhausted { .. } => {
                "publish another image: the node takes it by itself; if other nodes start this one, look at the disk and at the card's gild.toml"
            }
            Self::Record { .. } => self.fault().next_step(),
        }
    }

    fn remedy(&self) -> Remedy {
        match self {
            Self::Exhausted { .. } => Remedy::LookAgain,
            Self::Record { .. } => Remedy::Restart,
        }
    }
}

/// Whether an image that has had its starts gets another one. `since_start` is the time since the agent's start, and `waited` is how long
/// the image waited before that.
pub fn may_try_again(
    record: &Record,
    waited: Duration,
    since_start: Duration,
    hold: Duration,
) -> Result<(), TrialError> {
    let doublings = record.trial_starts.saturating_sub(TRIAL_STARTS);
    let holds = PAUSE
        .saturating_mul(2_u32.saturating_pow(doublings))
        .min(LONGEST);
    let pause = hold.saturating_mul(holds).saturating_sub(waited);
    if since_start >= pause {
        return Ok(());
    }
    Err(TrialError::Exhausted {
        image_id: record.image_id.clone(),
        starts: record.trial_starts,
        pause,
    })
}

/// The number of starts that an image keeps if a power cut interrupted the repeated write of its disk. A cut must not give it new starts.
/// It may come just before the record says *flashing*, or just after.
pub fn starts_before_a_cut(before: Option<&Record>, image_id: &str) -> u32 {
    let is_it = |record: &&Record| record.state != State::Proven && record.image_id == image_id;
    before.filter(is_it).map_or(0, |record| record.trial_starts)
}

/// Counts the coming start, and leaves on the card what it needs.
pub fn begin(
    board: &Board,
    card: Option<&dyn Folder>,
    disk: &dyn Target,
    record: Record,
) -> Result<Record, TrialError> {
    let record = Record {
        trial_starts: record.trial_starts.saturating_add(1),
        ..record
    };
    write(disk, &record)?;
    info!(
        "image {} is on trial: the board restarts to start it",
        record.image_id
    );
    if let Some(card) = card
        && let Err(error) =
            gate::close(card, board).and_then(|()| allow_one_start(board, card, &record.image_id))
    {
        warn!(
            "the card cannot be written, so a board whose U-Boot looks at the card first comes back without having started its disk: {error}; next: replace the card, or let it be written to"
        );
    }
    Ok(record)
}

/// Leaves a token on the card. With it U-Boot's script starts a disk once, whatever the gate says. `disk` is the disk's image, or the UUID
/// of its first partition.
pub fn allow_one_start(board: &Board, card: &dyn Folder, disk: &str) -> std::io::Result<()> {
    if !boot_order::runs_script(board) {
        return Ok(());
    }
    let token = format!("{}={disk}\n", board.name);
    card.write(TRIAL, token.as_bytes())
}

/// Notes in the record that the boot order is settled. So the node need not come back for it.
pub fn settle(disk: &dyn Target, record: Record) -> Result<(), TrialError> {
    write(
        disk,
        &Record {
            is_boot_order_pending: false,
            ..record
        },
    )
}

/// Replaces the record and reads it back. The record is in one sector, so a power cut leaves the old one or the new one.
fn write(disk: &dyn Target, record: &Record) -> Result<(), TrialError> {
    debug_assert_ne!(record.state, State::Flashing, "that is the engine's");
    let failed = |action, reason: String| TrialError::Record {
        action,
        disk: disk.name().to_owned(),
        reason,
    };
    let mut bytes = AlignedBuffer::new(RECORD_LENGTH);
    bytes.copy_from_slice(&record.to_bytes());
    disk.write_at(&bytes, RECORD_OFFSET)
        .and_then(|()| disk.flush())
        .map_err(|error| failed("writing", error.to_string()))?;
    let mut found = AlignedBuffer::new(RECORD_LENGTH);
    disk.read_at(&mut found, RECORD_OFFSET)
        .map_err(|error| failed("reading back", error.to_string()))?;
    if *found != *bytes {
        return Err(failed("writing", "it reads back otherwise".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use gild_card_format::GATE;
    use gild_disk::BlockDevice;
    use gild_format::manifest::Sha256Hex;

    use super::*;
    use crate::boot_order::stand_in::{MemoryCard, Power};

    const MINUTE: Duration = Duration::from_mins(1);

    fn record(trial_starts: u32) -> Record {
        Record {
            state: State::Trial,
            image_id: "a-1".to_owned(),
            manifest_sha256: Sha256Hex([7; 32]),
            rollback_counter: 1,
            rollback_floor: 0,
            trial_starts,
            is_discarded: true,
            is_boot_order_pending: true,
            orders: vec!["o-1".to_owned()],
        }
    }

    fn on(disk: &BlockDevice) -> Option<Record> {
        let mut bytes = AlignedBuffer::new(RECORD_LENGTH);
        disk.read_at(&mut bytes, RECORD_OFFSET).expect("a disk");
        Record::parse(&bytes)
    }

    fn disk() -> (tempfile::TempDir, BlockDevice) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("disk");
        let file = std::fs::File::create_new(&path).expect("a disk");
        file.set_len(4 << 20).expect("its size");
        (
            directory,
            BlockDevice::open_file(&path, 512).expect("a disk"),
        )
    }

    #[test]
    fn the_same_image_gets_another_start_after_an_hour_growing_to_a_day() {
        for (starts, hours) in [(3, 1), (4, 2), (5, 4), (7, 16), (8, 24), (99, 24)] {
            let after = |waited: u32, minutes: u32| {
                may_try_again(&record(starts), MINUTE * waited, MINUTE * minutes, MINUTE)
            };
            after(0, hours * 60 - 1).expect_err("it is too early");
            after(0, hours * 60).expect("it is time");
            after(50, hours * 60 - 51).expect_err("it is too early");
            after(50, hours * 60 - 50).expect("it has waited before the agent's last restart");
        }
    }

    #[test]
    fn who_takes_care_of_an_image_that_does_not_start_reads_what_to_do() {
        let exhausted = may_try_again(&record(3), Duration::ZERO, Duration::ZERO, MINUTE);
        let next_step = exhausted.expect_err("it is too early").next_step();
        assert!(next_step.contains("publish another image"), "{next_step}");
        let worn = TrialError::Record {
            action: "writing",
            disk: String::new(),
            reason: String::new(),
        };
        assert_eq!(worn.next_step(), Fault::TargetFailed.next_step());
    }

    #[test]
    fn a_power_cut_gives_an_image_no_new_starts() {
        let flashing = Record {
            state: State::Flashing,
            ..record(3)
        };
        assert_eq!(starts_before_a_cut(Some(&flashing), "a-1"), 3);
        assert_eq!(
            starts_before_a_cut(Some(&flashing), "a-2"),
            0,
            "another image"
        );
        assert_eq!(starts_before_a_cut(Some(&record(3)), "a-1"), 3);
        let proven = Record {
            state: State::Proven,
            ..record(3)
        };
        assert_eq!(starts_before_a_cut(Some(&proven), "a-1"), 0);
        assert_eq!(starts_before_a_cut(None, "a-1"), 0);
    }

    #[test]
    fn one_start_is_allowed_where_u_boot_asks_the_card() {
        let card = MemoryCard::new(&Power::on());
        for (name, disk, token) in [
            ("rock5b", "a-1", Some("rock5b=a-1\n")),
            ("rpi5", "a-1", None),
        ] {
            card.remove(TRIAL).expect("a card");
            let board = gild_boards::by_name(name).expect("a board");
            allow_one_start(board, &card, disk).expect("a card");
            assert_eq!(card.text(TRIAL).as_deref(), token);
        }
    }

    #[test]
    fn a_start_is_counted_on_the_disk_and_uses_the_card_once() {
        let (_directory, disk) = disk();
        for (name, token) in [("rock5b", Some("rock5b=a-1\n")), ("rpi5", None)] {
            let board = gild_boards::by_name(name).expect("a board");
            let card = MemoryCard::new(&Power::on());
            gate::remember(&card, board, "a-0").expect("a gate");
            let begun = begin(board, Some(&card), &disk, record(1)).expect("a trial");
            assert_eq!(begun, record(2));
            assert_eq!(on(&disk), Some(record(2)));
            assert_eq!(card.text(TRIAL).as_deref(), token, "{name}");
            let gate = card.text(GATE).unwrap_or_default();
            assert_eq!(gate, "", "an open gate would start it again and again");
        }
    }

    #[test]
    fn a_settled_boot_order_changes_nothing_else() {
        let (_directory, disk) = disk();
        let proven = Record {
            state: State::Proven,
            ..record(0)
        };
        settle(&disk, proven.clone()).expect("a disk");
        let settled = Record {
            is_boot_order_pending: false,
            ..proven
        };
        assert_eq!(on(&disk), Some(settled));
    }
}
