//! The gate: a disk that this card has seen finished is started, without network and server. docs/card.md has the rule.

use std::io;

use gild_boards::Board;
use gild_card_format::{Config, GATE, Gate};
use gild_flash::select::{self, Candidate, System, Wanted};
use gild_flash::{AlignedBuffer, Target};
use gild_format::record::{RECORD_LENGTH, RECORD_OFFSET, Record, State};
use log::{info, warn};

use crate::card::Card;
use crate::card::folder::Folder;
use crate::flash;
use crate::machine::Machine;

/// The disk that may be started as it is, and the image on it. Anything unclear is no such disk: then the share is asked.
pub fn open(
    machine: &Machine,
    board: &Board,
    config: &Config,
    card: &Card,
) -> Option<(Candidate, String)> {
    let gate = read(card)
        .inspect_err(|error| warn!("the gate stays closed: {error}"))
        .ok()?;
    let image_id = gate.image_id(&board.name)?;
    let wanted = Wanted {
        size: 0,
        sector_size: None,
        serial: config.target_serial.clone(),
        boot_medium: Some(card.name.clone()),
    };
    let target = select::choose(&System::default(), &wanted, machine, machine.patience())
        .inspect_err(|error| info!("the gate stays closed: {error}"))
        .ok()?;
    let disk = flash::open(&target)
        .inspect_err(|error| info!("the gate stays closed: {error}"))
        .ok()?;
    match carries(&disk, image_id) {
        Ok(true) => {
            info!("already done: image {image_id}, which this card has seen finished");
            Some((target, image_id.to_owned()))
        }
        Ok(false) => {
            info!("the gate stays closed: the disk does not carry image {image_id}");
            None
        }
        Err(error) => {
            info!("the gate stays closed: {error}");
            None
        }
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
    if gate.image_id(&board.name) == Some(image_id) {
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

    use gild_flash::BlockDevice;
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
        let carries = |image_id: &str| {
            let disk = BlockDevice::open_file(&path, 512).expect("the disk");
            carries(&disk, image_id).expect("a look")
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
}
