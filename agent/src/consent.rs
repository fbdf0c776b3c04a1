//! Whether a disk may be written. If the disk may hold something that a node cannot lose, the agent writes it only on positive evidence.
//! Either its first sector is zero, as `gild-reprovision` leaves it, or an order to flash names this node. The order may be the card's or a
//! signed one. docs/card.md has the table.

use std::fmt;
use std::io;

use gild_disk::{AlignedBuffer, Target};
use gild_format::record::{Found, RECORD_LENGTH, RECORD_OFFSET, Record, State};
use gild_orders::OrderId;

/// An image on trial gets this many starts. After them another image, or the same one again, may come from the share.
pub const TRIAL_STARTS: u32 = 3;

/// What a disk holds, as far as it matters for writing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Its first sector is zero: it is new, it is half written, or somebody wants it written again.
    Blank(Option<Record>),
    /// It has data that gild has not written.
    Foreign,
    /// An image of gild's that has not proven yet that it starts.
    Trial(Record),
    /// An image of gild's that a node may live on.
    Proven(Proven),
}

/// A disk that a node may live on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proven {
    /// Its record says so.
    Record(Record),
    /// Its record is of an earlier gild that had no trials. The text is the image's id.
    Version1(String),
    /// Its record is damaged or of a later gild, so its content is not known.
    Damaged,
    /// The place of its record cannot be read.
    Unreadable,
}

/// The disk cannot be read, so its content is not known.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// Its first sector, or the place of a record below an empty one.
    #[error(transparent)]
    Disk(io::Error),
    /// The place of its record cannot be read, and its first sector is not empty.
    #[error("the place of gild's record: {0}")]
    Record(io::Error),
}

/// What the agent does with a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The disk is started as it is, without asking network or share.
    Start(Proven),
    /// The image on trial is started once more.
    Try(Record),
    /// The image on trial has had all its starts. Another image may be taken at once, the same one only after a pause.
    Replace(Record),
    /// It is written.
    Write(Reason),
}

/// Why a disk is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its first sector is zero.
    Blank,
    /// Gild has never written it.
    Foreign,
    /// An order names this node, and the disk's record does not say that the order was carried out.
    Order(String),
}

impl Decision {
    /// Whether the disk is started as it is, without asking the share.
    pub fn is_start(&self) -> bool {
        matches!(self, Self::Start(_) | Self::Try(_))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("its first sector is empty"),
            Self::Foreign => f.write_str("gild has not written it before"),
            Self::Order(id) => write!(f, "order {id} says so"),
        }
    }
}

impl Proven {
    /// The image, if the record names it.
    pub fn image_id(&self) -> Option<&str> {
        match self {
            Self::Record(record) => Some(&record.image_id),
            Self::Version1(image_id) => Some(image_id),
            Self::Damaged | Self::Unreadable => None,
        }
    }
}

impl LookError {
    /// What the disk counts as if the error stays. A disk whose first sector is not zero may hold a node's data, and one bad sector must
    /// not keep the node from starting.
    pub fn lasting(self) -> Result<Holds, Self> {
        match self {
            Self::Disk(_) => Err(self),
            Self::Record(_) => Ok(Holds::Proven(Proven::Unreadable)),
        }
    }
}

impl Holds {
    /// Looks at a disk, past every cache. An error is never a reason to write.
    pub fn on(disk: &dyn Target) -> Result<Self, LookError> {
        let sector = read_twice(disk, 0, disk.sector_size() as usize).map_err(LookError::Disk)?;
        let is_empty = sector.iter().all(|byte| *byte == 0);
        let record = read_twice(disk, RECORD_OFFSET, RECORD_LENGTH);
        let record = record.map_err(if is_empty {
            LookError::Disk
        } else {
            LookError::Record
        })?;
        Ok(Self::of(is_empty, Found::in_bytes(&record)))
    }

    fn of(is_empty: bool, found: Found) -> Self {
        match (is_empty, found) {
            (true, Found::Record(record)) => Self::Blank(Some(record)),
            (true, _) => Self::Blank(None),
            (false, Found::Record(record)) => match record.state {
                State::Proven => Self::Proven(Proven::Record(record)),
                State::Trial => Self::Trial(record),
                // A disk that gild is writing has no first sector until its commit. So this disk is not gild's.
                State::Flashing => Self::Foreign,
            },
            (false, Found::Version1(image_id)) => Self::Proven(Proven::Version1(image_id)),
            (false, Found::Damaged) => Self::Proven(Proven::Damaged),
            (false, Found::Nothing) => Self::Foreign,
        }
    }

    /// The ids of the orders that the disk has carried out, as far as they are known.
    pub fn carried_out(&self) -> &[String] {
        self.record().map_or(&[], |record| &record.orders)
    }

    /// The record from which the next record takes its orders and its rollback floor.
    pub fn record(&self) -> Option<&Record> {
        match self {
            Self::Blank(record) => record.as_ref(),
            Self::Trial(record) | Self::Proven(Proven::Record(record)) => Some(record),
            Self::Foreign
            | Self::Proven(Proven::Version1(_) | Proven::Damaged | Proven::Unreadable) => None,
        }
    }
}

/// Reads this range twice, because a single wrong read must not cost a node its data.
fn read_twice(disk: &dyn Target, offset: u64, length: usize) -> io::Result<AlignedBuffer> {
    // The buffer is filled first. A read that reports success without filling it must not look like an empty sector, and the two reads must
    // not look equal.
    let read = |fill: u8| -> io::Result<AlignedBuffer> {
        let mut bytes = AlignedBuffer::new(length);
        bytes.fill(fill);
        disk.read_at(&mut bytes, offset)?;
        Ok(bytes)
    };
    let (first, second) = (read(0xff)?, read(0x55)?);
    if *first != *second {
        return Err(io::Error::other(format!(
            "two reads of the {length} bytes at {offset} gave different bytes"
        )));
    }
    Ok(first)
}

/// A signed order to flash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Its id.
    pub id: OrderId,
    /// Whether it is known that it has not expired. If not, it writes no disk that a node may live on.
    pub is_in_time: bool,
}

/// What is to be done with a disk. `order` is the card's order and `signed` the signed order to flash, if they name this node.
pub fn decide(holds: Holds, order: Option<&str>, signed: Option<&Signed>) -> Decision {
    let done = holds.carried_out();
    let by_card = order.filter(|id| done.iter().all(|done| done != id));
    // A signed order waits until the image on trial has had all its starts, because that needs no operator.
    let has_starts = matches!(&holds, Holds::Trial(record) if record.trial_starts < TRIAL_STARTS);
    let is_proven = matches!(&holds, Holds::Proven(_));
    let by_signature = signed.filter(|signed| {
        !has_starts && !signed.id.is_spent_by(done) && (signed.is_in_time || !is_proven)
    });
    let open = by_signature.map(|signed| signed.id.as_str()).or(by_card);
    let open = open.map(str::to_owned);
    match (holds, open) {
        (Holds::Blank(_), None) => Decision::Write(Reason::Blank),
        (Holds::Foreign, None) => Decision::Write(Reason::Foreign),
        // It is not known which orders were carried out, and an old one must not be carried out again.
        (Holds::Proven(proven @ (Proven::Damaged | Proven::Unreadable)), _) => {
            Decision::Start(proven)
        }
        (_, Some(id)) => Decision::Write(Reason::Order(id)),
        (Holds::Trial(record), None) if record.trial_starts < TRIAL_STARTS => Decision::Try(record),
        (Holds::Trial(record), None) => Decision::Replace(record),
        (Holds::Proven(proven), None) => Decision::Start(proven),
    }
}

#[cfg(test)]
mod tests {
    use gild_format::manifest::Sha256Hex;

    use super::*;

    fn record(state: State, trial_starts: u32, order_id: &str) -> Record {
        Record {
            state,
            image_id: "a-1".to_owned(),
            manifest_sha256: Sha256Hex([7; 32]),
            rollback_counter: 1,
            rollback_floor: 0,
            trial_starts,
            is_discarded: false,
            is_boot_order_pending: false,
            orders: vec![order_id.to_owned()],
        }
    }

    /// A disk whose first sector and record read like this. `None` makes the read fail.
    struct Disk {
        first: [Option<u8>; 2],
        record: Option<[u8; RECORD_LENGTH]>,
        /// The second read of the record returns other bytes.
        flips: bool,
        record_reads: std::sync::atomic::AtomicUsize,
        reads: std::sync::atomic::AtomicUsize,
    }

    impl Target for Disk {
        fn name(&self) -> &'static str {
            "disk"
        }

        fn size(&self) -> u64 {
            4 << 20
        }

        fn sector_size(&self) -> u32 {
            512
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            let failed = || io::Error::from_raw_os_error(5);
            if offset == RECORD_OFFSET {
                buffer.copy_from_slice(&self.record.ok_or_else(failed)?);
                let read = self
                    .record_reads
                    .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if self.flips && read == 1 {
                    let is_zero = buffer.iter().all(|byte| *byte == 0);
                    buffer.fill(if is_zero { 0x5a } else { 0 });
                }
                return Ok(());
            }
            assert_eq!(offset, 0);
            let read = self
                .reads
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            buffer.fill(0);
            buffer[7] = self.first[read].ok_or_else(failed)?;
            Ok(())
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
            panic!("nothing is written to decide")
        }

        fn zero(&self, _: u64, _: u64) -> io::Result<gild_disk::ZeroMethod> {
            panic!("nothing is written to decide")
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }

        fn reread_partition_table(&self) -> io::Result<()> {
            Ok(())
        }

        fn partition_table(&self) -> io::Result<Option<Vec<gild_format::manifest::Partition>>> {
            panic!("a damaged partition table is not consent")
        }
    }

    /// Every kind of record, by name.
    fn records() -> Vec<(&'static str, Option<[u8; RECORD_LENGTH]>)> {
        let mut damaged = record(State::Proven, 0, "").to_bytes();
        damaged[60] ^= 4;
        let mut later = record(State::Proven, 0, "").to_bytes();
        later[16] = 3;
        let of = |state, starts, order: &str| Some(record(state, starts, order).to_bytes());
        vec![
            ("unreadable", None),
            ("nothing", Some([0; RECORD_LENGTH])),
            ("foreign", Some([0x5a; RECORD_LENGTH])),
            ("damaged", Some(damaged)),
            ("later", Some(later)),
            ("flashing", of(State::Flashing, 0, "")),
            ("trial 0", of(State::Trial, 0, "")),
            ("trial 2", of(State::Trial, 2, "")),
            ("trial 3", of(State::Trial, 3, "")),
            ("trial, order done", of(State::Trial, 1, "o-1")),
            ("proven", of(State::Proven, 0, "")),
            ("proven, order done", of(State::Proven, 0, "o-1")),
            ("proven, other order done", of(State::Proven, 0, "o-0")),
        ]
    }

    /// Every kind of first sector, record and order, with the outcome in one word. The agent writes only in the rows of docs/card.md.
    #[test]
    fn nothing_but_an_empty_first_sector_an_unknown_disk_or_an_order_writes() {
        let records = records();
        let firsts = [
            ("empty", [Some(0), Some(0)]),
            ("a table", [Some(1), Some(1)]),
            ("unreadable, because it is empty once", [Some(0), Some(1)]),
            ("unreadable", [None, None]),
            ("unreadable once", [Some(0), None]),
        ];
        let mut writes = Vec::new();
        let mut cases = 0;
        for (first_name, first) in firsts {
            for (record_name, record) in &records {
                // A record that flips differs between the two reads.
                for flips in [false, true] {
                    let is_readable =
                        !flips && record.is_some() && !first_name.starts_with("unreadable");
                    for (order, stays) in [
                        (None, false),
                        (None, true),
                        (Some("o-1"), false),
                        (Some("o-1"), true),
                    ] {
                        let disk = Disk {
                            first,
                            record: *record,
                            flips,
                            record_reads: 0.into(),
                            reads: 0.into(),
                        };
                        cases += 1;
                        let name = format!("{first_name}, {record_name}, {flips}, {stays}");
                        let found = Holds::on(&disk);
                        assert_eq!(found.is_ok(), is_readable, "{name}");
                        let found = match found {
                            Err(error) if stays => error.lasting(),
                            found => found,
                        };
                        let counts_as_proven = !is_readable && stays && first_name == "a table";
                        assert_eq!(found.is_ok(), is_readable || counts_as_proven, "{name}");
                        let Ok(holds) = found else {
                            continue;
                        };
                        match decide(holds, order, None) {
                            Decision::Write(reason) => {
                                assert!(is_readable, "{name}");
                                writes.push(format!("{first_name} | {record_name} | {reason}"));
                            }
                            Decision::Start(Proven::Unreadable) => {
                                assert!(counts_as_proven, "{name}");
                            }
                            Decision::Start(_) => assert!(
                                ["damaged", "later", "proven"]
                                    .iter()
                                    .any(|name| record_name.starts_with(name))
                            ),
                            Decision::Try(record) | Decision::Replace(record) => {
                                assert_eq!(record.state, State::Trial);
                            }
                        }
                    }
                }
            }
        }
        assert_eq!(cases, 5 * 13 * 2 * 4);
        writes.sort();
        writes.dedup();
        let empty = "its first sector is empty";
        let unknown = "gild has not written it before";
        let order = "order o-1 says so";
        let mut expected = Vec::new();
        for (name, _) in &records[1..] {
            let name = *name;
            let is_done = name.ends_with("order done") && !name.ends_with("other order done");
            expected.push(format!("empty | {name} | {empty}"));
            if !is_done {
                expected.push(format!("empty | {name} | {order}"));
            }
            if ["nothing", "foreign", "flashing"].contains(&name) {
                expected.push(format!("a table | {name} | {unknown}"));
            }
            if !is_done && !["damaged", "later"].contains(&name) {
                expected.push(format!("a table | {name} | {order}"));
            }
        }
        expected.sort();
        assert_eq!(writes, expected);
    }

    /// Every kind of record on a disk with a first sector, with each possible answer of a signed order to flash. Only a good order writes.
    /// It never writes a disk on trial that has starts left, nor a disk whose orders are not known.
    #[test]
    fn a_signed_order_writes_a_disk_that_would_be_started_once_and_nothing_else_does() {
        let id = OrderId::parse("20261228T101500Z-1a2b3c").expect("an id");
        let (same, later) = (id.to_string(), "20261229T000000Z-000000");
        let (earlier, of_card) = ("20261227T235959Z-ffffff", "2026-12");
        let proven = |order: &str| Holds::Proven(Proven::Record(record(State::Proven, 0, order)));
        let trial = |starts, order: &str| Holds::Trial(record(State::Trial, starts, order));
        let mut writes = Vec::new();
        for (name, holds) in [
            ("proven", proven("")),
            ("proven, spent", proven(&same)),
            ("proven, a later one done", proven(later)),
            ("proven, an earlier one done", proven(earlier)),
            ("proven, an order of the card's done", proven(of_card)),
            (
                "version 1",
                Holds::Proven(Proven::Version1("a-0".to_owned())),
            ),
            ("damaged", Holds::Proven(Proven::Damaged)),
            ("unreadable", Holds::Proven(Proven::Unreadable)),
            ("trial 0", trial(0, "")),
            ("trial 2", trial(2, "")),
            ("trial 3", trial(3, "")),
            ("trial 3, spent", trial(3, &same)),
        ] {
            let without = decide(holds.clone(), None, None);
            assert!(!matches!(without, Decision::Write(_)), "{name}");
            let by = |is_in_time| {
                let signed = Signed {
                    id: id.clone(),
                    is_in_time,
                };
                decide(holds.clone(), None, Some(&signed))
            };
            if matches!(&holds, Holds::Proven(_)) {
                assert_eq!(by(false), without, "{name}: it may have expired");
            } else {
                assert_eq!(by(false), by(true), "{name}: no node lives on it");
            }
            match by(true) {
                Decision::Write(reason) => {
                    assert_eq!(reason, Reason::Order(same.clone()), "{name}");
                    writes.push(name);
                }
                decision => assert_eq!(decision, without, "{name}"),
            }
        }
        let expected = [
            "proven",
            "proven, an earlier one done",
            "proven, an order of the card's done",
            "version 1",
            "trial 3",
        ];
        assert_eq!(writes, expected);
    }

    #[test]
    fn a_record_that_reads_as_nothing_once_is_no_reason_to_write() {
        let disk = Disk {
            first: [Some(1); 2],
            record: Some(record(State::Proven, 0, "").to_bytes()),
            flips: true,
            record_reads: 0.into(),
            reads: 0.into(),
        };
        let error = Holds::on(&disk).expect_err("two reads that differ");
        assert!(matches!(error, LookError::Record(_)), "{error}");
    }

    #[test]
    fn a_disk_that_is_started_as_it_is_says_of_which_image() {
        let known = record(State::Proven, 0, "");
        for (proven, image_id) in [
            (Proven::Record(known.clone()), Some("a-1")),
            (Proven::Version1("a-0".to_owned()), Some("a-0")),
            (Proven::Damaged, None),
            (Proven::Unreadable, None),
        ] {
            assert_eq!(proven.image_id(), image_id);
            assert!(Decision::Start(proven).is_start());
        }
        assert!(Decision::Try(known.clone()).is_start());
        assert!(!Decision::Replace(known).is_start());
        assert!(!Decision::Write(Reason::Blank).is_start());
    }

    #[test]
    fn an_image_on_trial_gets_three_starts() {
        for starts in 0..5 {
            let trial = record(State::Trial, starts, "");
            let decision = decide(Holds::Trial(trial.clone()), None, None);
            let expected = if starts < 3 {
                Decision::Try(trial)
            } else {
                Decision::Replace(trial)
            };
            assert_eq!(decision, expected);
        }
    }
}
