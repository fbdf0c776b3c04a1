//! The loop guard: a node that comes back to the agent again and again without having started its disk says so, and restarts
//! with pauses that grow. It never stops: what kept the disk from starting may have been two power cuts.
//!
//! Mounting the disk's file systems for writing changes their first bytes. So equal bytes mean that nothing has started
//! from the disk since, whatever reset the board, and other ones that something has, even if the disk must be written
//! again. docs/card.md has the rule.

use std::io;

use gild_boards::Board;
use gild_disk::select::Candidate;
use gild_disk::{AlignedBuffer, Target};
use gild_faults::{Fault, HasFault};
use gild_format::manifest::Partition;
use gild_format::record::{RECORD_LENGTH, RECORD_OFFSET, Record, State};
use log::{info, warn};
use sha2::{Digest, Sha256};

use crate::boot_order::{self, BootOrder, Kind};
use crate::card::folder::Folder;
use crate::failure::{Remedy, StepError};
use crate::flash::{self, FlashStepError};
use crate::gate;
use crate::machine::Machine;
use crate::node::Node;

/// Restarts that may come to nothing before that is a fault.
pub const ATTEMPTS: u32 = 2;
/// Bytes of each partition that the mark covers: the superblock of every usual file system is among them.
const HEAD: u64 = 128 << 10;

/// The node does not start its disk.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// It came back.
    #[error(
        "image {image_id} is on {disk}, and the board came back to this agent {times} times without starting it (boot order: {boot_order}); the count is in {file} on the card"
    )]
    CameBack {
        /// The image.
        image_id: String,
        /// The disk.
        disk: String,
        /// What the boot order step found.
        boot_order: String,
        /// The file with the count.
        file: String,
        /// How often it came back.
        times: u32,
    },
    /// It would come back, and nothing could count that.
    #[error(
        "image {image_id} is on {disk}, but a restart would come back to this agent: boot order: {boot_order}; and the card cannot be written: {error}"
    )]
    NoCount {
        /// The image.
        image_id: String,
        /// The disk.
        disk: String,
        /// What the boot order step found.
        boot_order: String,
        /// Why the card cannot be written.
        error: String,
    },
    /// The disk cannot be read.
    #[error("reading {disk} after it was found good: {error}")]
    Disk {
        /// The disk.
        disk: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// The disk cannot be had.
    #[error(transparent)]
    Open(#[from] FlashStepError),
}

impl HasFault for LoopError {
    fn fault(&self) -> Fault {
        match self {
            Self::CameBack { .. } | Self::NoCount { .. } => Fault::BootOrder,
            Self::Disk { .. } | Self::Open(_) => Fault::TargetFailed,
        }
    }
}

impl StepError for LoopError {
    fn next_step(&self) -> &'static str {
        match self {
            Self::CameBack { .. } => {
                "set the boot order by hand, or take the card out; until then the node restarts again and again, with growing pauses"
            }
            Self::NoCount { .. } => "let the card be written to, or take it out",
            Self::Disk { .. } | Self::Open(_) => self.fault().next_step(),
        }
    }

    fn remedy(&self) -> Remedy {
        match self {
            Self::CameBack { times, .. } => Remedy::CountedRestart(Some(times - ATTEMPTS)),
            Self::NoCount { .. } => Remedy::CountedRestart(None),
            Self::Disk { .. } | Self::Open(_) => Remedy::Restart,
        }
    }
}

/// What is counted, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Count {
    image_id: String,
    disk: String,
    mark: String,
    attempts: u32,
}

impl Count {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut value = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix('=');
        Some(Self {
            image_id: value("image_id")?.to_owned(),
            disk: value("disk")?.to_owned(),
            mark: value("mark")?.to_owned(),
            attempts: value("attempts")?.parse().ok()?,
        })
    }

    fn to_text(&self) -> String {
        let Self {
            image_id,
            disk,
            mark,
            attempts,
        } = self;
        format!("image_id={image_id}\ndisk={disk}\nmark={mark}\nattempts={attempts}\n")
    }

    /// The same restart: of this image on this disk, which nothing has started since.
    fn is_same(&self, other: &Self) -> bool {
        self.image_id == other.image_id && self.disk == other.disk && self.mark == other.mark
    }
}

/// Whether this board has come back often enough without having started its disk that it cannot be chance.
pub fn has_come_back(node: &Node, target: &Candidate, image_id: &str) -> bool {
    let Some(card) = &node.card else {
        return false;
    };
    let before = || -> Result<u32, LoopError> {
        let now = restart_of(target, image_id)?;
        let text = Folder::read(card, &file(node)).unwrap_or_default();
        let before = Count::parse(&String::from_utf8_lossy(&text.unwrap_or_default()));
        let before = before.filter(|before| before.is_same(&now));
        Ok(before.map_or(0, |before| before.attempts))
    };
    // What cannot be read must not change anything; counting the restart says why it cannot be read.
    before().is_ok_and(|before| before >= ATTEMPTS)
}

/// A restart, not counted yet.
fn restart_of(target: &Candidate, image_id: &str) -> Result<Count, LoopError> {
    let disk = flash::open(target)?;
    let partitions = disk.partition_table();
    let mark = partitions.and_then(|table| mark(&disk, &table.unwrap_or_default()));
    Ok(Count {
        image_id: image_id.to_owned(),
        disk: target.serial.clone(),
        mark: mark.map_err(|error| LoopError::Disk {
            disk: target.to_string(),
            error,
        })?,
        attempts: 0,
    })
}

/// Counts the restart that is about to come, once in each start. Gives the count, or says that there have been too many.
pub fn count(
    machine: &Machine,
    board: &Board,
    node: &mut Node,
    target: &Candidate,
    image_id: &str,
    boot_order: &BootOrder,
    came_back: bool,
) -> Result<u32, LoopError> {
    machine.alive();
    let now = restart_of(target, image_id)?;
    let file = file(node);
    let is_news = is_news(boot_order, came_back);
    let written = match &node.card {
        Some(card) => write(card, &file, now, is_news, node.has_counted_restart),
        None => Err(io::Error::other("there is none")),
    };
    match written {
        Ok(attempts) => {
            node.has_counted_restart = true;
            info!("restart {attempts} without a start from the disk in between");
            judged(attempts, || LoopError::CameBack {
                image_id: image_id.to_owned(),
                disk: target.to_string(),
                boot_order: boot_order.to_string(),
                file,
                times: attempts - 1,
            })
        }
        Err(error) => {
            warn!("restarts are not counted, because the card cannot be written: {error}");
            let knows_order = boot_order::knows_reboot_order(board);
            if may_restart_uncounted(node.report.is_some(), boot_order, knows_order) {
                return Ok(ATTEMPTS);
            }
            Err(LoopError::NoCount {
                image_id: image_id.to_owned(),
                disk: target.to_string(),
                boot_order: boot_order.to_string(),
                error: error.to_string(),
            })
        }
    }
}

fn judged(attempts: u32, came_back: impl FnOnce() -> LoopError) -> Result<u32, LoopError> {
    if attempts <= ATTEMPTS {
        Ok(attempts)
    } else {
        Err(came_back())
    }
}

/// Opens the gate for a disk that was just found good, if that is right after what was counted.
///
/// The next start goes on with a flash that is half written, and an open gate would pass it by. Once that has come to
/// nothing, a node that runs is worth more. So it is where the board came back: what did not start its disk may have been
/// the closed gate.
pub fn open_gate(
    card: &dyn Folder,
    board: &Board,
    image_id: &str,
    boot_order: &BootOrder,
    counted: &Result<u32, LoopError>,
) {
    let goes_on = boot_order
        .trouble()
        .is_some_and(|trouble| trouble.kind == Kind::Unfinished);
    let opens = match counted {
        Ok(restarts) => *restarts >= ATTEMPTS || !goes_on,
        Err(LoopError::CameBack { .. }) => true,
        Err(LoopError::NoCount { .. } | LoopError::Disk { .. } | LoopError::Open(_)) => false,
    };
    if opens && let Err(error) = gate::remember(card, board, image_id) {
        warn!("the gate stays closed: {error}");
    }
}

/// A disk that was just written is news, and worth a restart. So is a change of the order, and a firmware that takes the order
/// of a restart from the card. One that looks at the disk first has not started it, or this agent would not run.
fn may_restart_uncounted(is_written: bool, boot_order: &BootOrder, knows_order: bool) -> bool {
    let may_start = match boot_order {
        BootOrder::AlreadyRight => false,
        BootOrder::Staged | BootOrder::Written => true,
        BootOrder::Left(_) => knows_order,
    };
    is_written || may_start
}

/// Whether the next start may be another one, whatever came before. An update that is staged because the board came back is
/// not: the ROM may leave it undone again and again.
fn is_news(boot_order: &BootOrder, came_back: bool) -> bool {
    match boot_order {
        BootOrder::Written => true,
        BootOrder::Staged => !came_back,
        BootOrder::AlreadyRight | BootOrder::Left(_) => false,
    }
}

/// Writes the count with this restart in it, unless this start has counted it already.
fn write(
    card: &dyn Folder,
    file: &str,
    now: Count,
    is_news: bool,
    is_counted: bool,
) -> io::Result<u32> {
    let before = card.read(file)?.unwrap_or_default();
    let before = Count::parse(&String::from_utf8_lossy(&before));
    let before = before.filter(|before| before.is_same(&now) && !is_news);
    let attempts = before.map_or(0, |before| before.attempts);
    if is_counted && attempts > 0 {
        return Ok(attempts);
    }
    let attempts = attempts.saturating_add(1);
    card.write(file, Count { attempts, ..now }.to_text().as_bytes())?;
    Ok(attempts)
}

/// Forgets the count if the disk was started since: somebody wants it written again. `partitions` are those of the image,
/// for what is to be written again may have no partition table.
pub fn forget_if_started(node: &Node, disk: &dyn Target, partitions: &[Partition]) {
    let Some(card) = &node.card else {
        return;
    };
    let forget = || {
        let mut record = AlignedBuffer::new(RECORD_LENGTH);
        disk.read_at(&mut record, RECORD_OFFSET)?;
        let Some(record) = Record::parse(&record) else {
            return Ok(());
        };
        let found = (record, mark(disk, partitions)?);
        forget_if(card, &file(node), &found)
    };
    if let Err(error) = forget() {
        warn!("restarts before this one still count: {error}");
    }
}

/// Only a disk that has kept the commit of the counted image: any other may be one that loses what is written to it.
fn forget_if(card: &dyn Folder, file: &str, (record, mark): &(Record, String)) -> io::Result<()> {
    let before = card.read(file)?.unwrap_or_default();
    let before = Count::parse(&String::from_utf8_lossy(&before));
    let is_started = before.is_some_and(|before| {
        record.state == State::Committed
            && record.image_id == before.image_id
            && *mark != before.mark
    });
    if is_started {
        card.remove(file)?;
    }
    Ok(())
}

fn file(node: &Node) -> String {
    format!("gild-{}.boot", node.id())
}

/// A digest of what changes as soon as something starts from the disk.
fn mark(disk: &dyn Target, partitions: &[Partition]) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = AlignedBuffer::new(usize::try_from(HEAD).map_err(io::Error::other)?);
    for partition in partitions {
        let sector = u64::from(disk.sector_size());
        let length = partition.length.min(HEAD) / sector * sector;
        let head = &mut buffer[..usize::try_from(length).map_err(io::Error::other)?];
        disk.read_at(head, partition.start)?;
        hash.update(head);
    }
    Ok(hex::encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use gild_card_format::GATE;
    use gild_format::manifest::Sha256Hex;

    use super::*;
    use crate::boot_order::BootOrderError;
    use crate::boot_order::stand_in::{MemoryCard, Power};

    fn now(mark: &str) -> Count {
        Count {
            image_id: "rpi5-1".to_owned(),
            disk: "S1".to_owned(),
            mark: mark.to_owned(),
            attempts: 0,
        }
    }

    fn came_back(times: u32) -> LoopError {
        LoopError::CameBack {
            image_id: String::new(),
            disk: String::new(),
            boot_order: String::new(),
            file: String::new(),
            times,
        }
    }

    /// A restart of a later start.
    fn restart(card: &MemoryCard, now: Count) -> u32 {
        write(card, "count", now, false, false).expect("a card")
    }

    #[test]
    fn restarts_are_counted_until_the_disk_is_started_or_the_order_is_changed() {
        let card = MemoryCard::new(&Power::on());
        let counts: Vec<_> = (0..4).map(|_| restart(&card, now("a"))).collect();
        assert_eq!(counts, [1, 2, 3, 4], "the count never ends");
        assert_eq!(restart(&card, now("b")), 1, "the disk was started");
        assert_eq!(restart(&card, now("b")), 2);
        let changed = write(&card, "count", now("b"), true, false).expect("a card");
        assert_eq!(changed, 1, "the order was changed");
        card.remove("count").expect("an operator");
        assert_eq!(restart(&card, now("b")), 1);
    }

    #[test]
    fn an_update_that_the_rom_leaves_undone_does_not_start_the_count_again() {
        let card = MemoryCard::new(&Power::on());
        let attempts = || {
            let before = card.text("count").as_deref().and_then(Count::parse);
            before.map_or(0, |before| before.attempts)
        };
        let counts: Vec<_> = (0..5)
            .map(|_| {
                let came_back = attempts() >= ATTEMPTS;
                // Only what has come back stages an update here; else the order is right.
                let is_news = came_back && is_news(&BootOrder::Staged, came_back);
                write(&card, "count", now("a"), is_news, false).expect("a card")
            })
            .collect();
        assert_eq!(counts, [1, 2, 3, 4, 5]);
        assert!(is_news(&BootOrder::Staged, false), "a first update");
        assert!(is_news(&BootOrder::Written, true), "the flash was written");
    }

    #[test]
    fn one_start_counts_one_restart_however_often_it_tries() {
        let card = MemoryCard::new(&Power::on());
        assert_eq!(restart(&card, now("a")), 1);
        let again = |mark| write(&card, "count", now(mark), false, true).expect("a card");
        assert_eq!([again("a"), again("a")], [1, 1]);
        assert_eq!(again("b"), 1, "the disk was written meanwhile");
        assert_eq!(restart(&card, now("b")), 2, "the next start");
    }

    #[test]
    fn the_pauses_of_a_board_that_comes_back_grow() {
        let after = |times| came_back(times).remedy();
        assert_eq!(after(ATTEMPTS), Remedy::CountedRestart(Some(0)));
        assert_eq!(after(ATTEMPTS + 3), Remedy::CountedRestart(Some(3)));
    }

    /// A power cut came before the gate was opened, twice; or each start closes it, because the flash is worn.
    #[test]
    fn a_rock_5b_that_comes_back_with_its_gate_closed_gets_it_opened() {
        let board = gild_boards::by_name("rock5b").expect("a board");
        let worn = || {
            BootOrder::Left(BootOrderError {
                kind: Kind::Unfinished,
                reason: "it reads back wrong".to_owned(),
                next_step: "",
            })
        };
        for boot_order in [BootOrder::AlreadyRight, worn()] {
            let card = MemoryCard::new(&Power::on());
            for _ in 0..ATTEMPTS {
                restart(&card, now("a"));
            }
            gate::close(&card, board).expect("closed");
            let counted = judged(restart(&card, now("a")), || came_back(ATTEMPTS));
            assert!(matches!(counted, Err(LoopError::CameBack { .. })));
            open_gate(&card, board, "rock5b-1", &boot_order, &counted);
            let gate = card.text(GATE);
            assert_eq!(gate.as_deref(), Some("rock5b=rock5b-1\n"), "{boot_order}");
        }
    }

    #[test]
    fn the_gate_is_opened_when_the_boot_order_is_settled_and_the_disk_good() {
        let board = gild_boards::by_name("rock5b").expect("a board");
        let left = |kind| {
            BootOrder::Left(BootOrderError {
                kind,
                reason: String::new(),
                next_step: "",
            })
        };
        let unreadable = || LoopError::Disk {
            disk: String::new(),
            error: io::Error::other("EIO"),
        };
        for (boot_order, counted, opens) in [
            (BootOrder::AlreadyRight, Ok(1), true),
            (BootOrder::Written, Ok(1), true),
            (left(Kind::NotPossible), Ok(1), true),
            (left(Kind::Unfinished), Ok(1), false),
            (left(Kind::Unfinished), Ok(ATTEMPTS), true),
            (BootOrder::AlreadyRight, Err(unreadable()), false),
        ] {
            let card = MemoryCard::new(&Power::on());
            open_gate(&card, board, "rock5b-1", &boot_order, &counted);
            assert_eq!(card.text(GATE).is_some(), opens, "{boot_order} {counted:?}");
        }
    }

    #[test]
    fn a_disk_that_was_started_and_is_to_be_written_again_is_news() {
        let card = MemoryCard::new(&Power::on());
        let restart = || restart(&card, now("a"));
        let found = |state, image_id: &str, mark: &str| {
            let record = Record {
                state,
                image_id: image_id.to_owned(),
                manifest_sha256: Sha256Hex([7; 32]),
            };
            forget_if(&card, "count", &(record, mark.to_owned())).expect("a card");
        };
        found(State::Committed, "rpi5-1", "b");
        assert_eq!(restart(), 1);
        found(State::Committed, "rpi5-1", "a");
        found(State::Flashing, "rpi5-1", "b");
        found(State::Committed, "rpi5-0", "b");
        assert_eq!(restart(), 2, "written again, and never started");
        found(State::Committed, "rpi5-1", "b");
        assert_eq!(restart(), 1);
    }

    #[test]
    fn without_a_count_only_what_may_start_the_disk_is_worth_a_restart() {
        let left = BootOrder::Left(BootOrderError::from(io::Error::other("read-only")));
        for (is_written, boot_order, knows_order, restarts) in [
            (true, &BootOrder::AlreadyRight, false, true),
            (false, &BootOrder::AlreadyRight, true, false),
            (false, &BootOrder::Written, false, true),
            (false, &BootOrder::Staged, false, true),
            (false, &left, false, false),
            (false, &left, true, true),
        ] {
            let found = may_restart_uncounted(is_written, boot_order, knows_order);
            assert_eq!(found, restarts, "{is_written} {boot_order} {knows_order}");
        }
    }

    #[test]
    fn another_image_or_disk_is_another_count() {
        let before = Count {
            attempts: 1,
            ..now("a")
        };
        assert_eq!(Count::parse(&before.to_text()), Some(before.clone()));
        for other in [
            Count {
                image_id: "rpi5-2".to_owned(),
                ..now("a")
            },
            Count {
                disk: "S2".to_owned(),
                ..now("a")
            },
        ] {
            assert!(!before.is_same(&other), "{other:?}");
        }
        assert!(before.is_same(&now("a")));
        assert_eq!(Count::parse("image_id=a\ndisk="), None);
    }

    #[test]
    fn the_mark_changes_with_the_head_of_a_partition_alone() {
        use std::fs::File;
        use std::os::unix::fs::FileExt;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("disk");
        let file = File::create_new(&path).expect("a disk");
        file.set_len(4 << 20).expect("its size");
        let start = 1 << 20;
        let partition = Partition {
            number: 1,
            start,
            length: 2 << 20,
            kind: "0x83".to_owned(),
            uuid: String::new(),
            name: String::new(),
        };
        let mark = || {
            let disk = gild_disk::BlockDevice::open_file(&path, 512).expect("the disk");
            mark(&disk, std::slice::from_ref(&partition)).expect("a mark")
        };
        let write = |at| file.write_all_at(b"x", at).expect("a byte");
        let first = mark();
        write(start - 1);
        write(start + HEAD);
        assert_eq!(mark(), first);
        write(start + 1024);
        assert_ne!(mark(), first);
    }
}
