//! When nothing goes wrong.

use std::sync::Mutex;

use gild_disk::{AlignedBuffer, Target, ZeroMethod};
use gild_flash::{Event, Observer, Options, Outcome, Stage, TargetState, Terms, inspect};
use gild_format::network::{Found, NETWORK_LENGTH, NETWORK_OFFSET, Settings};
use gild_format::record::{RECORD_OFFSET, Record, State};

use crate::disk::Disk;
use crate::image::{Image, MemorySource, Shape};
use crate::{Diary, assert_carries, flash, flash_as, flash_with, record_on};

const MIB: usize = 1 << 20;
const SIZE: usize = 6 * MIB;

#[test]
fn every_byte_of_the_image_arrives_whatever_the_sizes() {
    for chunk_size in [4 << 10, 64 << 10, 1 << 20, 4 << 20] {
        for raw_size in [3 * MIB, 5 * MIB - 512, 9 * MIB + 4096] {
            for more in [0, 512, 7 * MIB] {
                for workers in [1, 7] {
                    let image = Image::new(Shape {
                        raw_size,
                        chunk_size,
                        ..Shape::default()
                    });
                    let disk = Disk::used(raw_size + more);
                    let source = MemorySource::new(&image);
                    let report = flash_with(&image, &source, &disk, &(), Some(workers));
                    let report = report.expect("nothing is wrong");
                    assert_eq!(report.outcome, Outcome::Flashed);
                    assert_carries(&disk.content(), &image);
                }
            }
        }
    }
}

#[test]
fn each_data_byte_is_fetched_hashed_written_and_read_back_once() {
    let image = Image::new(Shape::default());
    let size = 8 * MIB;
    let disk = Disk::used(size);
    let report = flash(&image, &disk).expect("nothing is wrong");

    let data = image.data_raw();
    assert_eq!(report.bytes_fetched, image.data_stored());
    assert_eq!(report.chunks_fetched, image.data_chunks() as u64);
    assert_eq!(report.chunks, image.data_chunks());
    assert_eq!(report.chunks_kept, 0);
    // Each byte is hashed once when it arrives and once when it is read back. No hole is hashed.
    assert_eq!(report.bytes_hashed, 2 * data);
    // Besides the data: the first MiB is cleared and later written in full, with its first sector separate each time, and the old backup
    // table is cleared.
    let withheld: u64 = image
        .manifest
        .chunks
        .iter()
        .filter(|c| c.raw_offset < MIB as u64 && !c.hole)
        .map(|c| u64::from(c.raw_length))
        .sum();
    assert_eq!(report.bytes_written, data - withheld + 3 * MIB as u64);
    let holes = image.manifest.raw_size - data;
    let holes_in_first_mib = MIB as u64 - withheld;
    assert_eq!(report.bytes_zeroed, holes - holes_in_first_mib);
    assert_eq!(report.zero_method, Some(ZeroMethod::ZeroOut));
    assert!(!report.zeroing_failed);
    let sampled = report.bytes_read_back - (data - withheld) - MIB as u64;
    assert!(
        sampled < holes / 2,
        "{sampled} bytes of {holes} in holes were read"
    );
    let stages: Vec<Stage> = report.stages.iter().map(|(stage, _)| *stage).collect();
    assert_eq!(
        stages,
        [Stage::Prepare, Stage::Write, Stage::Verify, Stage::Commit]
    );
}

#[test]
fn a_target_that_carries_the_image_is_not_written() {
    let image = Image::new(Shape::default());
    let disk = Disk::used(6 * MIB);
    flash(&image, &disk).expect("nothing is wrong");
    let before = disk.writes();
    let operations = disk.operations();
    let report = flash(&image, &disk).expect("nothing is wrong");
    assert_eq!(report.outcome, Outcome::AlreadyDone);
    assert_eq!((disk.writes(), disk.operations()), (before, operations));
    assert_eq!((report.bytes_written, report.bytes_fetched), (0, 0));
    assert_eq!(report.chunks_kept, image.data_chunks());
}

#[test]
fn a_node_that_grew_its_root_partition_is_not_written() {
    let image = Image::new(Shape::default());
    let disk = Disk::used(6 * MIB);
    flash(&image, &disk).expect("nothing is wrong");
    let mut content = std::io::Cursor::new(disk.content().to_vec());
    let mut gpt = gptman::GPT::find_from(&mut content).expect("the image has a GPT");
    gpt.header
        .update_from(&mut content, 512)
        .expect("the disk is larger");
    gpt[2].ending_lba = gpt.header.last_usable_lba;
    gpt.write_into(&mut content).expect("a GPT fits");
    let disk = Disk::new(content.into_inner(), 512);
    let state = inspect(&image.manifest, image.manifest_sha256, &disk).expect("it can be read");
    assert_eq!(state, TargetState::Done);
}

#[test]
fn a_disk_whose_partition_table_was_wiped_is_written_again_from_what_it_still_has() {
    let image = Image::new(Shape::default());
    let disk = Disk::used(6 * MIB);
    flash(&image, &disk).expect("nothing is wrong");
    let mut content = disk.content().to_vec();
    content[..34 * 512].fill(0);
    let disk = Disk::new(content, 512);
    let report = flash(&image, &disk).expect("nothing is wrong");
    assert_eq!(report.outcome, Outcome::Flashed);
    assert_carries(&disk.content(), &image);
    assert!(report.chunks_kept > 0);
}

#[test]
fn another_image_is_written_anew() {
    let image = Image::new(Shape::default());
    let other = Image::new(Shape {
        id: "test-2",
        ..Shape::default()
    });
    let disk = Disk::used(6 * MIB);
    flash(&other, &disk).expect("nothing is wrong");
    let state = inspect(&image.manifest, image.manifest_sha256, &disk).expect("it can be read");
    assert_eq!(state, TargetState::Other);
    let report = flash(&image, &disk).expect("nothing is wrong");
    assert_eq!((report.outcome, report.chunks_kept), (Outcome::Flashed, 0));
    assert_carries(&disk.content(), &image);
}

#[test]
fn a_manifest_made_again_does_not_cost_a_node_its_data() {
    let image = Image::new(Shape::default());
    let disk = Disk::used(6 * MIB);
    flash(&image, &disk).expect("nothing is wrong");
    let mut again = image.clone();
    again.manifest_sha256.0[0] ^= 1;
    let state = inspect(&again.manifest, again.manifest_sha256, &disk).expect("it can be read");
    assert_eq!(state, TargetState::Done);
}

#[test]
fn the_old_backup_table_at_the_end_of_the_disk_is_gone() {
    let image = Image::new(Shape::default());
    let disk = Disk::used(8 * MIB);
    flash(&image, &disk).expect("nothing is wrong");
    assert!(disk.content()[7 * MIB..].iter().all(|&byte| byte == 0));
}

#[test]
fn no_write_is_so_long_that_the_watchdog_would_not_hear_of_it() {
    let image = Image::new(Shape {
        raw_size: 128 * MIB,
        chunk_size: 4 << 20,
        ..Shape::default()
    });
    let disk = Disk::used(128 * MIB);
    let diary = Diary::default();
    flash_with(&image, &MemorySource::new(&image), &disk, &diary, None).expect("nothing is wrong");
    assert!(disk.largest_write() <= 32 * MIB);
    // There is a sign of life for each transfer, of at most a MiB, in both directions.
    assert!(diary.count("Progress") as u64 >= 2 * (image.data_raw() >> 20));
}

/// Only what the image does not cover is discarded.
#[test]
fn the_disk_forgets_once_what_the_image_does_not_cover_and_a_resume_forgets_nothing() {
    let image = Image::new(Shape::default());
    let disk = Disk::used(SIZE);
    let beyond = (SIZE - image.raw.len()) as u64;
    let report = flash(&image, &disk).expect("nothing is wrong");
    assert_eq!(report.bytes_discarded, beyond);
    assert!(record_on(&disk).is_discarded);
    assert_carries(&disk.content(), &image);

    // A node lived on the disk, and is to be flashed again.
    disk.write_at(&AlignedBuffer::new(512), 0).expect("a disk");
    let report = flash(&image, &disk).expect("nothing is wrong");
    assert_eq!(
        (report.bytes_discarded, report.chunks_fetched),
        (beyond, 1),
        "only the chunk in the first MiB is fetched"
    );
    assert_carries(&disk.content(), &image);

    // The record of an interrupted flash.
    let flashing = Record {
        state: State::Flashing,
        ..record_on(&disk)
    };
    let mut bytes = AlignedBuffer::new(4096);
    bytes.copy_from_slice(&flashing.to_bytes());
    disk.write_at(&bytes, RECORD_OFFSET).expect("a disk");
    let report = flash(&image, &disk).expect("nothing is wrong");
    assert_eq!(report.bytes_discarded, 0, "once is enough");
    assert!(record_on(&disk).is_discarded);
}

/// It is the same image, and a node has left data on the disk. None of that stays, even if the disk cannot discard.
#[test]
fn an_erased_disk_has_nothing_that_was_on_it_before() {
    let image = Image::new(Shape::default());
    let erase = Options {
        erase: true,
        ..Options::default()
    };
    for remembers in [false, true] {
        let disk = Disk::used(SIZE);
        let disk = if remembers {
            disk.that_remembers()
        } else {
            disk
        };
        flash(&image, &disk).expect("nothing is wrong");
        let beyond = image.raw.len().next_multiple_of(MIB);
        let mut left = AlignedBuffer::new(MIB);
        left.fill(0x5a);
        disk.write_at(&left, beyond as u64).expect("a disk");
        let report = flash_as(&image, &disk, &erase).expect("nothing is wrong");
        assert_eq!(report.chunks_kept, 0, "{remembers}");
        assert_carries(&disk.content(), &image);
        let content = disk.content();
        let found = &content[beyond..beyond + MIB];
        assert!(found != &left[..], "{remembers}");
        if remembers {
            let everything = SIZE as u64 - (1 << 20);
            assert!(report.bytes_zeroed >= everything, "{}", report.bytes_zeroed);
        } else {
            assert_eq!(report.bytes_discarded, SIZE as u64 - (1 << 20));
        }
    }
}

/// The network block of a disk.
fn network_on(disk: &Disk) -> Found {
    let at = usize::try_from(NETWORK_OFFSET).expect("one MiB");
    Found::in_bytes(&disk.content()[at..at + NETWORK_LENGTH])
}

#[test]
fn each_flash_writes_the_network_block_that_counts_then() {
    let image = Image::new(Shape::default());
    let disk = Disk::used(SIZE);
    let with = |vlan| {
        let network = Settings {
            vlan,
            ..Settings::default()
        };
        Options {
            again: true,
            network,
            ..Options::default()
        }
    };
    let expected = |options: &Options| Found::Settings(options.network.clone());
    let first = with(Some(7));
    flash_as(&image, &disk, &first).expect("nothing is wrong");
    assert_eq!(network_on(&disk), expected(&first));

    // The flash was interrupted before the commit, and resumed.
    disk.write_at(&AlignedBuffer::new(512), 0).expect("a disk");
    let second = with(Some(8));
    flash_as(&image, &disk, &second).expect("nothing is wrong");
    assert_eq!(network_on(&disk), expected(&second));

    flash_as(&image, &disk, &with(None)).expect("nothing is wrong");
    assert_eq!(network_on(&disk), Found::Nothing, "zeros for DHCP");
    assert_carries(&disk.content(), &image);
}

#[test]
fn a_disk_that_cannot_forget_is_written_all_the_same() {
    let image = Image::new(Shape::default());
    let disk = Disk::used(SIZE).that_remembers();
    let report = flash(&image, &disk).expect("nothing is wrong");
    assert_eq!(report.bytes_discarded, 0);
    assert_carries(&disk.content(), &image);
    assert!(!record_on(&disk).is_discarded);
}

/// What happened to a disk around its discard, in order.
struct Witness {
    may_discard: bool,
    seen: Mutex<Vec<String>>,
}

impl Observer for Witness {
    fn event(&self, event: Event<'_>) {
        if let Event::Stage(stage) = event {
            self.see(stage.name());
        }
    }

    fn may_discard(&self) -> bool {
        self.see("asked");
        self.may_discard
    }
}

impl Witness {
    fn see(&self, what: &str) {
        let mut seen = self.seen.lock().expect("no test thread panicked");
        seen.push(what.to_owned());
    }
}

#[test]
fn a_disk_that_must_not_be_discarded_is_written_all_the_same() {
    let image = Image::new(Shape::default());
    let source = MemorySource::new(&image);
    let flash = |disk: &Disk, may_discard| {
        let witness = Witness {
            may_discard,
            seen: Mutex::default(),
        };
        let report = flash_with(&image, &source, disk, &witness, None).expect("nothing is wrong");
        let seen = witness.seen.into_inner().expect("no test thread panicked");
        (report, seen)
    };
    for may_discard in [true, false] {
        let disk = Disk::used(SIZE);
        let (report, seen) = flash(&disk, may_discard);
        assert_eq!(report.bytes_discarded > 0, may_discard);
        assert_eq!(record_on(&disk).is_discarded, may_discard);
        assert_carries(&disk.content(), &image);
        assert_eq!(seen[..3], ["prepare", "asked", "write"], "{seen:?}");

        // A flash that continues after a power cut discards nothing, so it does not ask the observer.
        let flashing = Record {
            state: State::Flashing,
            ..record_on(&disk)
        };
        let mut bytes = AlignedBuffer::new(4096);
        bytes.copy_from_slice(&flashing.to_bytes());
        disk.write_at(&bytes, RECORD_OFFSET).expect("a disk");
        let (report, seen) = flash(&disk, true);
        assert_eq!(report.bytes_discarded, 0);
        assert_eq!(record_on(&disk).is_discarded, may_discard);
        assert_eq!(seen[..2], ["prepare", "scan"], "{seen:?}");
    }
}

#[test]
fn an_image_that_proves_itself_is_on_trial_and_the_record_has_the_terms() {
    let mut image = Image::new(Shape::default());
    image.manifest.proves_itself = true;
    let disk = Disk::used(SIZE);
    let terms = Terms {
        orders: vec!["2026-12".to_owned()],
        rollback_floor: 5,
        trial_starts: 2,
        is_boot_order_pending: true,
    };
    let options = Options {
        terms: terms.clone(),
        ..Options::default()
    };
    flash_as(&image, &disk, &options).expect("nothing is wrong");
    let record = record_on(&disk);
    assert_eq!(record.state, State::Trial);
    let found = Terms {
        orders: record.orders,
        rollback_floor: record.rollback_floor,
        trial_starts: record.trial_starts,
        is_boot_order_pending: record.is_boot_order_pending,
    };
    assert_eq!(found, terms);
}

#[test]
fn an_image_is_written_again_where_that_is_asked_for() {
    let image = Image::new(Shape::default());
    let disk = Disk::used(SIZE);
    flash(&image, &disk).expect("nothing is wrong");
    let hurt = image
        .manifest
        .chunks
        .iter()
        .find(|chunk| !chunk.hole && chunk.raw_offset >= 1 << 20);
    let hurt = hurt.expect("data").raw_offset;
    disk.write_at(&AlignedBuffer::new(512), hurt)
        .expect("a disk");
    let report = flash(&image, &disk).expect("nothing is wrong");
    assert_eq!(report.outcome, Outcome::AlreadyDone, "nobody asked");
    let options = Options {
        again: true,
        ..Options::default()
    };
    let report = flash_as(&image, &disk, &options).expect("nothing is wrong");
    assert_eq!(
        (report.outcome, report.chunks_fetched),
        (Outcome::Flashed, 1 + 1)
    );
    assert_carries(&disk.content(), &image);
}

#[test]
fn what_is_read_of_holes_is_counted_and_can_be_all() {
    let image = Image::new(Shape::default());
    let report = flash(&image, &Disk::used(SIZE)).expect("nothing is wrong");
    assert!(report.hole_bytes_read_back < report.hole_bytes);
    assert!(report.hole_bytes_read_back > 0);
    let options = Options {
        read_holes: true,
        ..Options::default()
    };
    let report = flash_as(&image, &Disk::used(SIZE), &options).expect("nothing is wrong");
    assert_eq!(report.hole_bytes_read_back, report.hole_bytes);
}
