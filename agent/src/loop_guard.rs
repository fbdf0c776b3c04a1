//! The loop guard: a node that comes back to the agent again and again without having started its disk stops.
//!
//! Mounting the disk's file systems for writing changes their first bytes. So equal bytes mean that nothing has started
//! from the disk since, whatever reset the board, and other ones that something has, even if the disk must be written
//! again. docs/card.md has the rule.

use std::io;

use gild_boards::Board;
use gild_flash::select::Candidate;
use gild_flash::{AlignedBuffer, Fault, Target};
use gild_format::manifest::Partition;
use gild_format::record::{RECORD_LENGTH, RECORD_OFFSET, Record, State};
use log::{info, warn};
use sha2::{Digest, Sha256};

use crate::boot_order::{self, BootOrder};
use crate::card::folder::Folder;
use crate::failure::StepError;
use crate::flash::{self, FlashStepError};
use crate::machine::Machine;
use crate::node::Node;

/// Restarts that may come to nothing.
pub const ATTEMPTS: u32 = 2;
/// Bytes of each partition that the mark covers: the superblock of every usual file system is among them.
const HEAD: u64 = 128 << 10;

/// The node does not start its disk.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// It came back.
    #[error(
        "image {image_id} is on {disk}, and the board came back to this agent {ATTEMPTS} times without starting it; boot order: {boot_order}; {file} on the card counts"
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

impl StepError for LoopError {
    fn fault(&self) -> Fault {
        match self {
            Self::CameBack { .. } | Self::NoCount { .. } => Fault::BootOrder,
            Self::Disk { .. } | Self::Open(_) => Fault::TargetFailed,
        }
    }

    fn next_step(&self) -> &'static str {
        match self {
            Self::CameBack { .. } => {
                "set the boot order by hand or take the card out; to have it tried again, delete that file on the card"
            }
            Self::NoCount { .. } => "let the card be written to, or take it out",
            Self::Disk { .. } | Self::Open(_) => self.fault().next_step(),
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

    /// The count with this restart in it, unless there have been enough.
    fn after(self, before: Option<&Self>) -> Option<Self> {
        let attempts = match before {
            Some(before)
                if before.image_id == self.image_id
                    && before.disk == self.disk
                    && before.mark == self.mark =>
            {
                before.attempts
            }
            _ => 0,
        };
        (attempts < ATTEMPTS).then_some(Self {
            attempts: attempts + 1,
            ..self
        })
    }
}

/// Counts the restart that is about to come, or says why there should be none. Gives the count.
pub fn count(
    machine: &Machine,
    board: &Board,
    node: &Node,
    target: &Candidate,
    image_id: &str,
    boot_order: &BootOrder,
) -> Result<u32, LoopError> {
    machine.alive();
    let mark = {
        let disk = flash::open(target)?;
        let partitions = disk.partition_table();
        let mark = partitions.and_then(|table| mark(&disk, &table.unwrap_or_default()));
        mark.map_err(|error| LoopError::Disk {
            disk: target.to_string(),
            error,
        })?
    };
    let now = Count {
        image_id: image_id.to_owned(),
        disk: target.serial.clone(),
        mark,
        attempts: 0,
    };
    let file = file(node);
    let written = match &node.card {
        Some(card) => write(card, &file, now),
        None => Err(io::Error::other("there is none")),
    };
    match written {
        Ok(Some(attempts)) => {
            info!("restart {attempts} of {ATTEMPTS} without a start from the disk in between");
            Ok(attempts)
        }
        Ok(None) => Err(LoopError::CameBack {
            image_id: image_id.to_owned(),
            disk: target.to_string(),
            boot_order: boot_order.to_string(),
            file,
        }),
        Err(error) => {
            warn!("restarts are not counted, for the card cannot be written: {error}");
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

/// Writes the count; `None` if there have been enough.
fn write(card: &dyn Folder, file: &str, now: Count) -> io::Result<Option<u32>> {
    let before = card.read(file)?.unwrap_or_default();
    let before = Count::parse(&String::from_utf8_lossy(&before));
    let Some(count) = now.after(before.as_ref()) else {
        return Ok(None);
    };
    card.write(file, count.to_text().as_bytes())?;
    Ok(Some(count.attempts))
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

    #[test]
    fn two_restarts_may_come_to_nothing_and_the_third_is_none() {
        let card = MemoryCard::new(&Power::on());
        let restart = |mark| write(&card, "count", now(mark)).expect("a card");
        assert_eq!(restart("a"), Some(1));
        assert_eq!(restart("a"), Some(2));
        assert_eq!(restart("a"), None);
        assert_eq!(restart("a"), None, "it stays so");
        assert_eq!(restart("b"), Some(1), "the disk was started");
        card.remove("count").expect("an operator");
        assert_eq!(restart("b"), Some(1));
    }

    #[test]
    fn a_disk_that_was_started_and_is_to_be_written_again_is_news() {
        let card = MemoryCard::new(&Power::on());
        let restart = || write(&card, "count", now("a")).expect("a card");
        let found = |state, image_id: &str, mark: &str| {
            let record = Record {
                state,
                image_id: image_id.to_owned(),
                manifest_sha256: Sha256Hex([7; 32]),
            };
            forget_if(&card, "count", &(record, mark.to_owned())).expect("a card");
        };
        found(State::Committed, "rpi5-1", "b");
        assert_eq!(restart(), Some(1));
        found(State::Committed, "rpi5-1", "a");
        found(State::Flashing, "rpi5-1", "b");
        found(State::Committed, "rpi5-0", "b");
        assert_eq!(restart(), Some(2), "written again, and never started");
        found(State::Committed, "rpi5-1", "b");
        assert_eq!(restart(), Some(1));
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
        let before = now("a").after(None).expect("a first one");
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
            assert_eq!(
                other.after(Some(&before)).map(|count| count.attempts),
                Some(1)
            );
        }
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
            let disk = gild_flash::BlockDevice::open_file(&path, 512).expect("the disk");
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
