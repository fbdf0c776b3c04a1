//! The loop guard. If a node comes back to the agent again and again without having started its disk, the loop guard reports that. The node
//! then restarts with growing pauses. It never gives up, because two power cuts may have kept the disk from starting.
//!
//! Mounting the disk's file systems for writing changes their first bytes. If the bytes are equal, nothing has started from the disk since,
//! whatever reset the board. If they differ, something has started from it, even if the disk must be written again. docs/card.md has the
//! rule.

mod count_file;
mod mark;
#[cfg(test)]
mod tests;

use std::io;

use gild_boards::Board;
use gild_card_format::names::loop_count;
use gild_disk::{AlignedBuffer, Target};
use gild_faults::{Fault, HasFault};
use gild_format::manifest::Partition;
use gild_format::record::{RECORD_LENGTH, RECORD_OFFSET, Record, State};
use log::{info, warn};

use crate::boot_order::{self, BootOrder, Kind};
use crate::card::folder::Folder;
use crate::failure::{Remedy, StepError};
use crate::flash::{self, Finished, FlashStepError};
use crate::gate;
use crate::machine::Machine;
use crate::node::Node;
use crate::trial;
use count_file::Count;
use mark::mark;

/// After this many failed restarts it is a fault.
pub const ATTEMPTS: u32 = 2;
/// Why the node does not start its disk.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// The board came back.
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
    /// The board would come back, and nothing could count that.
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
    /// The disk cannot be opened.
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
            Self::NoCount { .. } => "remove the write protection of the card, or take the card out",
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

/// A restart that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// The card counts it: this many since the disk was last started.
    Counted(u32),
    /// It cannot be counted, but it is worth trying.
    Uncounted,
}

/// Whether this board has come back without starting its disk more often than chance explains. `now` is the restart that would
/// come.
pub fn has_come_back(
    card: &dyn Folder,
    id: &str,
    now: impl FnOnce() -> Result<Count, LoopError>,
) -> bool {
    let before = || -> Result<u32, LoopError> {
        let now = now()?;
        let before = Count::read(card, &loop_count(id)).unwrap_or_default();
        let before = before.filter(|before| before.is_same(&now));
        Ok(before.map_or(0, |before| before.attempts))
    };
    // An error must not change anything here. When the restart is counted, the same error is reported.
    before().is_ok_and(|before| before >= ATTEMPTS)
}

/// The name of the image. It is unknown if the record is damaged.
fn shown(image_id: Option<&String>) -> &str {
    image_id.map_or("(unknown)", String::as_str)
}

/// This restart, not counted yet.
pub fn restart_of(finished: &Finished) -> Result<Count, LoopError> {
    let Finished { target, image_id } = finished;
    let disk = flash::open(target)?;
    let partitions = disk.partition_table();
    let mark = partitions.and_then(|table| mark(&disk, &table.unwrap_or_default()));
    Ok(Count {
        image_id: shown(image_id.as_ref()).to_owned(),
        disk: target.serial.clone(),
        mark: mark.map_err(|error| LoopError::Disk {
            disk: target.to_string(),
            error,
        })?,
        attempts: 0,
    })
}

/// Counts the coming restart, once in each start. Fails if there have been too many.
pub fn count(
    machine: &Machine,
    board: &Board,
    node: &mut Node,
    finished: &Finished,
    boot_order: &BootOrder,
    came_back: bool,
) -> Result<Restart, LoopError> {
    machine.alive();
    let now = restart_of(finished)?;
    let Finished { target, image_id } = finished;
    let file = loop_count(&node.id());
    let is_news = is_news(boot_order, came_back);
    let written = match &node.card {
        Some(card) => count_file::write(card, &file, now, is_news, node.has_counted_restart),
        None => Err(io::Error::other("there is none")),
    };
    match written {
        Ok(attempts) => {
            node.has_counted_restart = true;
            // Each flash has a first one.
            if attempts > 1 {
                info!("restart {attempts} without a start from the disk in between");
            }
            judged(attempts, |times| LoopError::CameBack {
                image_id: shown(image_id.as_ref()).to_owned(),
                disk: target.to_string(),
                boot_order: boot_order.to_string(),
                file,
                times,
            })
        }
        Err(error) => {
            warn!(
                "cannot count restarts, because the card cannot be written: {error}; next: replace the card, or let it be written to"
            );
            let knows_order = boot_order::knows_reboot_order(board);
            if may_restart_uncounted(node.writes > 0, boot_order, knows_order) {
                return Ok(Restart::Uncounted);
            }
            Err(LoopError::NoCount {
                image_id: shown(image_id.as_ref()).to_owned(),
                disk: target.to_string(),
                boot_order: boot_order.to_string(),
                error: error.to_string(),
            })
        }
    }
}

/// The last of so many restarts is about to come; the others came back.
fn judged(attempts: u32, came_back: impl FnOnce(u32) -> LoopError) -> Result<Restart, LoopError> {
    if attempts <= ATTEMPTS {
        Ok(Restart::Counted(attempts))
    } else {
        Err(came_back(attempts - 1))
    }
}

/// The facts about a finished disk that decide who starts it next.
pub struct Verdict<'a> {
    /// The image, if its record can be read.
    pub image_id: Option<&'a str>,
    /// The UUID by which U-Boot knows the disk; see [`first_partition`].
    pub first_partition: Option<&'a str>,
    /// What has become of the boot order.
    pub boot_order: &'a BootOrder,
    /// The result of counting the restart.
    pub counted: &'a Result<Restart, LoopError>,
}

impl Verdict<'_> {
    /// Whether the next power-on may start the disk without the agent.
    fn may_start(&self) -> bool {
        let goes_on = self
            .boot_order
            .trouble()
            .is_some_and(|trouble| trouble.kind == Kind::Unfinished);
        match self.counted {
            Ok(Restart::Counted(restarts)) => *restarts >= ATTEMPTS || !goes_on,
            Ok(Restart::Uncounted) | Err(LoopError::CameBack { .. }) => true,
            Err(LoopError::NoCount { .. } | LoopError::Disk { .. } | LoopError::Open(_)) => false,
        }
    }
}

/// Opens the gate for a disk that is good, if the count allows that.
///
/// While the boot flash is half written the gate stays closed, because the next start must finish the flash. If the attempts to finish it
/// have failed, the gate opens, because a running node is worth more. The gate also opens if the board came back, because the closed gate
/// may have kept the disk from starting.
pub fn open_gate(card: &dyn Folder, board: &Board, verdict: &Verdict) {
    if verdict.may_start()
        && let Some(image_id) = verdict.image_id
        && let Err(error) = gate::remember(card, board, image_id)
    {
        warn!("the gate stays closed: {error}");
    }
}

/// The UUID of the disk's first partition, by which U-Boot knows the disk.
pub fn first_partition(finished: &Finished) -> Option<String> {
    let table = gild_probe::partition_table(&finished.target.path).ok()??;
    Some(table.partitions.into_iter().next()?.uuid)
}

/// Leaves the token for one start if nothing else starts the disk. That is so in two cases. If the record is damaged, the gate cannot name
/// the image. If the image's own files still say that it is on trial, the gate has no effect and the board comes back. The token names the
/// disk's first partition if there is one, because the file with the image's name for U-Boot may be missing.
pub fn allow_one_start(card: &dyn Folder, board: &Board, verdict: &Verdict) {
    let has_come_back = match verdict.counted {
        Ok(Restart::Counted(restarts)) => *restarts >= ATTEMPTS,
        Err(LoopError::CameBack { .. }) => true,
        _ => false,
    };
    if (has_come_back || verdict.image_id.is_none())
        && verdict.may_start()
        && let Some(disk) = verdict.first_partition.or(verdict.image_id)
        && let Err(error) = trial::allow_one_start(board, card, disk)
    {
        warn!(
            "the card cannot be written, so its U-Boot may start this agent again instead of the disk: {error}; next: replace the card, or let it be written to"
        );
    }
}

/// Whether a restart is worth trying although nothing counts it. It is after a write of the disk, after a change of the boot order, and if
/// the card can give the firmware an order for one restart. It is not if the boot order was already right: then the firmware tried the disk
/// first and did not start it, because otherwise this agent would not run.
fn may_restart_uncounted(is_written: bool, boot_order: &BootOrder, knows_order: bool) -> bool {
    let may_start = match boot_order {
        BootOrder::AlreadyRight => false,
        BootOrder::Staged | BootOrder::Written => true,
        BootOrder::Left(_) => knows_order,
    };
    is_written || may_start
}

/// Whether the next start may end differently from earlier ones. An update that was staged because the board came back does not count,
/// because the ROM may ignore that update every time.
fn is_news(boot_order: &BootOrder, came_back: bool) -> bool {
    match boot_order {
        BootOrder::Written => true,
        BootOrder::Staged => !came_back,
        BootOrder::AlreadyRight | BootOrder::Left(_) => false,
    }
}

/// Forgets the count if the disk has been started since: then somebody wants it written again. `partitions` are those of the image, because
/// a disk that is to be written again may have no partition table.
pub fn forget_if_started(card: &dyn Folder, id: &str, disk: &dyn Target, partitions: &[Partition]) {
    let forget = || {
        let mut record = AlignedBuffer::new(RECORD_LENGTH);
        disk.read_at(&mut record, RECORD_OFFSET)?;
        let Some(record) = Record::parse(&record) else {
            return Ok(());
        };
        let found = (record, mark(disk, partitions)?);
        forget_if(card, &loop_count(id), &found)
    };
    if let Err(error) = forget() {
        warn!("restarts before this one still count: {error}");
    }
}

/// Forgets the count only if the disk still has the commit of the counted image. Any other disk may be one that loses its data.
fn forget_if(card: &dyn Folder, file: &str, (record, mark): &(Record, String)) -> io::Result<()> {
    let before = Count::read(card, file)?;
    let is_started = before.is_some_and(|before| {
        record.state != State::Flashing
            && record.image_id == before.image_id
            && *mark != before.mark
    });
    if is_started {
        card.remove(file)?;
    }
    Ok(())
}

/// Forgets the count, because the disk is written again after a pause that was long enough.
pub fn forget(card: &dyn Folder, id: &str) {
    if let Err(error) = card.remove(&loop_count(id)) {
        warn!("restarts before this one still count: {error}");
    }
}
