//! The gate: a disk that this card has seen finished is started, without network and server. docs/card.md has the rule.

use std::io;

use gild_boards::Board;
use gild_card_format::{Config, GATE, Gate};
use gild_disk::select::{self, Candidate, SelectError, System, Wanted};
use gild_disk::{AlignedBuffer, Target};
use gild_faults::{Fault, HasFault};
use gild_format::ImageId;
use gild_format::record::{RECORD_LENGTH, RECORD_OFFSET, Record, State};
use log::{info, warn};

use crate::card::folder::Folder;
use crate::failure::{Failure, Remedy, StepError};
use crate::flash::{self, Finished};
use crate::hangs::{self, HungBefore};
use crate::machine::Machine;
use crate::node::Node;
use crate::stage::Stage;
use crate::stall::Watcher;

/// What the gate says.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This disk may be started as it is.
    Open(Finished),
    /// The share is asked. So it is where anything is unclear.
    Closed,
    /// The same, but the card names an image, and the kernel shows no disk or cannot read it: a restart may open the gate.
    Lost(Failure),
}

/// The disk that the gate is about cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("reading {disk}, which may carry the finished image, failed: {error}")]
pub struct Unreadable {
    disk: String,
    error: io::Error,
}

impl HasFault for Unreadable {
    fn fault(&self) -> Fault {
        Fault::TargetFailed
    }
}

impl StepError for Unreadable {
    fn remedy(&self) -> Remedy {
        Remedy::Restart
    }
}

/// Whether a disk may be started as it is. A disk that hung in an earlier start waits before it is looked at again.
pub fn open(
    machine: &Machine,
    board: &Board,
    config: &Config,
    node: &mut Node,
    watcher: &Watcher,
) -> Result<Verdict, HungBefore> {
    let Some((card, image_id)) = named(node, board) else {
        return Ok(Verdict::Closed);
    };
    hangs::show_last(node, None)?;
    let wanted = Wanted {
        size: 0,
        sector_size: None,
        serial: config.target_serial.clone(),
        boot_medium: Some(card),
    };
    let verdict = match select::choose(&System::default(), &wanted, machine, machine.patience()) {
        Ok(target) => {
            node.target = Some(target.clone());
            watcher.knows(node);
            hangs::show_last(node, Some(&target))?;
            match flash::open(&target) {
                Ok(disk) => look(&disk, target, image_id),
                Err(error) => Verdict::Lost(error.into()),
            }
        }
        Err(error) => without_disk(error),
    };
    match &verdict {
        Verdict::Open(finished) => {
            let image_id = &finished.image_id;
            info!("already done: image {image_id}, which this card has seen finished");
            return Ok(verdict);
        }
        Verdict::Closed => info!("the gate stays closed"),
        Verdict::Lost(failure) => warn!("the gate stays closed: {}", failure.message),
    }
    node.target = None;
    watcher.knows(node);
    Ok(verdict)
}

/// The card, and the image that it has seen finished on boards of this kind.
fn named(node: &Node, board: &Board) -> Option<(String, String)> {
    let card = node.card.as_ref()?;
    let gate = read(card)
        .inspect_err(|error| warn!("the gate stays closed: {error}"))
        .ok()?;
    Some((card.name.clone(), gate.image_id(&board.name)?.to_string()))
}

/// A disk that the kernel may have lost is a reason to restart; several that may be meant are not.
fn without_disk(error: SelectError) -> Verdict {
    if error.may_be_hidden {
        return Verdict::Lost(error.into());
    }
    info!("no disk is looked at: {error}");
    Verdict::Closed
}

fn look(disk: &dyn Target, target: Candidate, image_id: String) -> Verdict {
    match carries(disk, &image_id) {
        Ok(true) => Verdict::Open(Finished { target, image_id }),
        Ok(false) => {
            info!("the disk does not carry image {image_id}");
            Verdict::Closed
        }
        Err(error) => Verdict::Lost(
            Unreadable {
                disk: target.to_string(),
                error,
            }
            .into(),
        ),
    }
}

/// The failure to show where the gate's disk is lost and the story failed, too. Without the share nothing looks for the disk
/// again, and only a failure of the disk restarts the board: so it goes before one of network or share. Where the disk has
/// been found meanwhile, only what failed then counts.
pub fn blame(lost: &Failure, other: Failure, stage: Stage) -> Failure {
    if stage >= Stage::Target {
        return other;
    }
    Failure {
        message: format!(
            "{}; nor does the share say what to do, because of fault {}: {}",
            lost.message,
            other.fault.number(),
            other.message
        ),
        ..lost.clone()
    }
}

/// Whether the disk carries this image, committed, and can be booted from.
fn carries(disk: &dyn Target, image_id: &str) -> io::Result<bool> {
    let mut bytes = AlignedBuffer::new(RECORD_LENGTH);
    disk.read_at(&mut bytes, RECORD_OFFSET)?;
    let is_committed = Record::parse(&bytes)
        .is_some_and(|record| record.state == State::Committed && record.image_id == image_id);
    let is_partitioned = disk
        .partition_table()?
        .is_some_and(|partitions| !partitions.is_empty());
    Ok(is_committed && is_partitioned)
}

/// Says on the card that this image is finished on boards of this kind.
pub fn remember(card: &dyn Folder, board: &Board, image_id: &str) -> io::Result<()> {
    let mut gate = read(card)?;
    let image_id = ImageId::parse(image_id).map_err(io::Error::other)?;
    if gate.image_id(&board.name) == Some(&image_id) {
        return Ok(());
    }
    gate.set(&board.name, image_id);
    card.write(GATE, gate.to_text().as_bytes())
}

/// Closes the gate for boards of this kind, before their boot flash is written: after a power cut an open one would start
/// the disk, and what is half written would stay so.
pub fn close(card: &dyn Folder, board: &Board) -> io::Result<()> {
    let mut gate = read(card)?;
    if gate.image_id(&board.name).is_none() {
        return Ok(());
    }
    gate.close(&board.name);
    card.write(GATE, gate.to_text().as_bytes())
}

fn read(card: &dyn Folder) -> io::Result<Gate> {
    let text = card.read(GATE)?.unwrap_or_default();
    Ok(Gate::parse(&String::from_utf8_lossy(&text)))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    use gild_disk::BlockDevice;
    use gild_format::manifest::Sha256Hex;

    use super::*;
    use crate::boot_order::stand_in::{MemoryCard, Power};

    #[test]
    fn each_kind_of_board_has_its_line_and_no_one_touches_another_s() {
        let card = MemoryCard::new(&Power::on());
        let board = |name| gild_boards::by_name(name).expect("a board");
        remember(&card, board("rpi5"), "rpi5-1").expect("a line");
        remember(&card, board("rock5b"), "rock5b-1").expect("a line");
        remember(&card, board("rpi5"), "rpi5-2").expect("a line");
        close(&card, board("rock5b")).expect("closed");
        assert_eq!(card.text(GATE).as_deref(), Some("rpi5=rpi5-2\n"));
    }

    #[test]
    fn only_the_whole_image_on_a_disk_with_partitions_opens_the_gate() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("disk");
        let file = File::create_new(&path).expect("a disk");
        file.set_len(4 << 20).expect("its size");
        let verdict = |image_id: &str| {
            let disk = BlockDevice::open_file(&path, 512).expect("the disk");
            look(&disk, disk_of(&path), image_id.to_owned())
        };
        let carries = |image_id| match verdict(image_id) {
            Verdict::Open(finished) => {
                assert_eq!(finished.target, disk_of(&path));
                assert_eq!(finished.image_id, image_id);
                true
            }
            Verdict::Closed => false,
            Verdict::Lost(failure) => panic!("{}", failure.message),
        };
        let record = |state| {
            let record = Record {
                state,
                image_id: "a-1".to_owned(),
                manifest_sha256: Sha256Hex([7; 32]),
            };
            file.write_all_at(&record.to_bytes(), RECORD_OFFSET)
                .expect("a record");
        };
        record(State::Committed);
        assert!(!carries("a-1"), "a disk that was made unbootable");
        // An MBR with one partition.
        let mut sector = [0; 512];
        sector[446 + 4] = 0x83;
        sector[446 + 8..446 + 16].copy_from_slice(&[0, 8, 0, 0, 0, 8, 0, 0]);
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        file.write_all_at(&sector, 0).expect("a table");
        assert!(carries("a-1"));
        assert!(!carries("a-2"), "another image");
        record(State::Flashing);
        assert!(!carries("a-1"), "half an image");
    }

    fn disk_of(path: &Path) -> Candidate {
        Candidate {
            path: path.to_owned(),
            model: "Disk".to_owned(),
            serial: "S1".to_owned(),
            size: 4 << 20,
            sector_size: 512,
        }
    }

    #[test]
    fn a_disk_that_may_be_hidden_or_cannot_be_read_is_lost_and_restarts_the_board() {
        let hidden = |may_be_hidden| {
            let message = "no NVMe disk".to_owned();
            without_disk(SelectError {
                message,
                may_be_hidden,
            })
        };
        assert_eq!(hidden(false), Verdict::Closed, "several disks");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("disk");
        // It ends before the commit record: reading that fails.
        std::fs::write(&path, [0; 4096]).expect("a disk");
        let disk = BlockDevice::open_file(&path, 512).expect("the disk");
        let unreadable = look(&disk, disk_of(&path), "a-1".to_owned());
        for (verdict, fault, named) in [
            (hidden(true), Fault::NoTarget, "no NVMe disk"),
            (unreadable, Fault::TargetFailed, "serial S1"),
        ] {
            let Verdict::Lost(failure) = verdict else {
                panic!("{verdict:?}");
            };
            assert_eq!((failure.fault, failure.remedy), (fault, Remedy::Restart));
            assert!(failure.message.contains(named), "{}", failure.message);
        }
    }

    #[test]
    fn a_lost_disk_goes_before_a_network_or_a_server_that_is_away_and_not_before_later_faults() {
        let failure = |fault: Fault, remedy| Failure {
            fault,
            message: fault.meaning().to_owned(),
            next_step: fault.next_step(),
            remedy,
        };
        let lost = failure(Fault::NoTarget, Remedy::Restart);
        let shown = |fault, stage| {
            let other = failure(fault, Remedy::LookAgain);
            blame(&lost, other, stage)
        };
        for (fault, stage) in [
            (Fault::NoNetwork, Stage::Network),
            (Fault::ServerUnreachable, Stage::Manifest),
            (Fault::ManifestRefused, Stage::Manifest),
        ] {
            let shown = shown(fault, stage);
            assert_eq!(
                (shown.fault, shown.remedy),
                (Fault::NoTarget, Remedy::Restart)
            );
            for part in [Fault::NoTarget.meaning(), fault.meaning()] {
                assert!(shown.message.contains(part), "{}", shown.message);
            }
        }
        let shown = shown(Fault::ServerUnreachable, Stage::Flash);
        assert_eq!(shown.fault, Fault::ServerUnreachable, "the disk was found");
    }
}
