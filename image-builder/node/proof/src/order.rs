//! The orders that a disk has carried out, as its record lists them.

use anyhow::{Context, Result, bail};
use gild_format::record::{Found, RECORD_LENGTH, RECORD_OFFSET, Record, State};
use gild_orders::carried_out_with;

use crate::disk::Disk;

/// Notes that the disk carries this order out. Earlier notes are kept.
pub fn note_order(disk: &Disk, id: &str) -> Result<()> {
    let record = proven_record(disk)?;
    let noted = Record {
        orders: carried_out_with(&record.orders, id),
        ..record
    };
    disk.replace(RECORD_OFFSET, &noted.to_bytes())
        .with_context(|| format!("noting order {id} on {}", disk.device.display()))
}

/// The record of a proven image, which lists the orders that the disk has carried out. On any other disk an order cannot be noted.
pub fn proven_record(disk: &Disk) -> Result<Record> {
    let shown = disk.device.display();
    let bytes = disk.read(RECORD_OFFSET, RECORD_LENGTH);
    let bytes = bytes.with_context(|| format!("reading the record on {shown}"))?;
    match Found::in_bytes(&bytes) {
        Found::Record(record) if record.state == State::Proven => Ok(record),
        Found::Record(_) => bail!("the record on {shown} does not say that its image is proven"),
        Found::Version1(_) | Found::Damaged | Found::Nothing => {
            bail!(
                "{shown} has no record that could note an order; next: flash this node once by hand"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use gild_format::manifest::Sha256Hex;

    use super::*;

    fn disk(bytes: &[u8]) -> (tempfile::NamedTempFile, Disk) {
        // It needs a real file system, because one in memory may refuse O_DIRECT.
        let file = tempfile::NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).expect("a disk");
        let at = usize::try_from(RECORD_OFFSET).expect("one MiB");
        let mut content = vec![7; 1 << 20];
        content[at..at + bytes.len()].copy_from_slice(bytes);
        fs::write(file.path(), content).expect("its content");
        let disk = Disk {
            device: file.path().to_owned(),
            sector: 512,
        };
        (file, disk)
    }

    fn record(state: State) -> Record {
        Record {
            state,
            image_id: "rpi5-1".to_owned(),
            manifest_sha256: Sha256Hex([7; 32]),
            rollback_counter: 4,
            rollback_floor: 3,
            trial_starts: 0,
            is_discarded: true,
            is_boot_order_pending: true,
            orders: vec!["2026-12".to_owned()],
        }
    }

    #[test]
    fn an_order_is_noted_and_nothing_else_changes() {
        const ID: &str = "20261228T101500Z-1a2b3c";
        let (file, disk) = disk(&record(State::Proven).to_bytes());
        let before = fs::read(file.path()).expect("the disk");
        note_order(&disk, ID).expect("a note");
        assert_eq!(
            proven_record(&disk).expect("a record").orders,
            [ID, "2026-12"]
        );
        let mut after = fs::read(file.path()).expect("the disk");
        let at = usize::try_from(RECORD_OFFSET).expect("one MiB");
        let noted = Record::parse(&after[at..at + RECORD_LENGTH]).expect("a record");
        let as_before = Record {
            orders: vec!["2026-12".to_owned()],
            ..noted
        };
        after[at..at + RECORD_LENGTH].copy_from_slice(&as_before.to_bytes());
        assert!(after == before, "only the orders differ");
    }

    #[test]
    fn a_disk_that_can_note_nothing_is_left_alone() {
        let mut damaged = record(State::Proven).to_bytes();
        damaged[60] ^= 4;
        for bytes in [record(State::Trial).to_bytes(), damaged, [0; RECORD_LENGTH]] {
            let (file, disk) = disk(&bytes);
            let before = fs::read(file.path()).expect("the disk");
            note_order(&disk, "20261228T101500Z-1a2b3c").expect_err("no note");
            proven_record(&disk).expect_err("no record");
            assert!(fs::read(file.path()).expect("the disk") == before);
        }
    }
}
