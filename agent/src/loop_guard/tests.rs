//! Facts about the loop guard.

use gild_card_format::{GATE, TRIAL};
use gild_format::manifest::Sha256Hex;

use super::count_file::write;
use super::mark::HEAD;
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
            // Here an update is staged only if the board came back. Otherwise the order is right.
            let is_news = came_back && is_news(&BootOrder::Staged, came_back);
            write(&card, "count", now("a"), is_news, false).expect("a card")
        })
        .collect();
    assert_eq!(counts, [1, 2, 3, 4, 5]);
    assert!(is_news(&BootOrder::Staged, false), "a first update");
    assert!(is_news(&BootOrder::Written, true), "the flash was written");
}

/// It can be chance once.
#[test]
fn a_board_has_come_back_when_the_card_counts_as_many_restarts_of_this_disk() {
    let card = MemoryCard::new(&Power::on());
    let file = loop_count("node");
    let has = |mark: &str| has_come_back(&card, "node", || Ok(now(mark)));
    for restarts in 0..4 {
        assert_eq!(has("a"), restarts >= ATTEMPTS, "{restarts}");
        assert!(!has("b"), "the disk was started");
        write(&card, &file, now("a"), false, false).expect("a card");
    }
    let unreadable = || {
        Err(LoopError::Disk {
            disk: String::new(),
            error: io::Error::other("EIO"),
        })
    };
    assert!(!has_come_back(&card, "node", unreadable));
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

/// A disk whose record names its image.
fn verdict<'a>(boot_order: &'a BootOrder, counted: &'a Result<Restart, LoopError>) -> Verdict<'a> {
    Verdict {
        image_id: Some("rock5b-1"),
        first_partition: None,
        boot_order,
        counted,
    }
}

/// Either a power cut came before the gate was opened, twice, or each start closes the gate because the flash is worn.
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
        let counted = judged(restart(&card, now("a")), came_back);
        assert!(matches!(
            counted,
            Err(LoopError::CameBack {
                times: ATTEMPTS,
                ..
            })
        ));
        open_gate(&card, board, &verdict(&boot_order, &counted));
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
        (BootOrder::AlreadyRight, Ok(Restart::Counted(1)), true),
        (BootOrder::Written, Ok(Restart::Counted(1)), true),
        (left(Kind::NotPossible), Ok(Restart::Counted(1)), true),
        (left(Kind::Unfinished), Ok(Restart::Counted(1)), false),
        (left(Kind::Unfinished), Ok(Restart::Counted(ATTEMPTS)), true),
        (left(Kind::Unfinished), Ok(Restart::Uncounted), true),
        (BootOrder::AlreadyRight, Err(unreadable()), false),
    ] {
        let card = MemoryCard::new(&Power::on());
        open_gate(&card, board, &verdict(&boot_order, &counted));
        assert_eq!(card.text(GATE).is_some(), opens, "{boot_order} {counted:?}");
    }
}

#[test]
fn one_start_is_allowed_after_the_first_return_and_where_nothing_names_the_image() {
    let board = gild_boards::by_name("rock5b").expect("a board");
    let unfinished = BootOrder::Left(BootOrderError {
        kind: Kind::Unfinished,
        reason: String::new(),
        next_step: "",
    });
    let (named, disk) = (Some("rock5b-1"), Some("0b0e7a3c-1"));
    let (of_image, of_disk) = (Some("rock5b=rock5b-1\n"), Some("rock5b=0b0e7a3c-1\n"));
    let right = BootOrder::AlreadyRight;
    for (boot_order, restarts, image_id, first_partition, token) in [
        (&right, 1, named, disk, None),
        (&right, 2, named, disk, of_disk),
        (&right, 2, named, None, of_image),
        (&right, 1, None, disk, of_disk),
        (&right, 1, None, None, None),
        (&unfinished, 1, None, disk, None),
        (&unfinished, 2, None, disk, of_disk),
    ] {
        let card = MemoryCard::new(&Power::on());
        let counted = Ok(Restart::Counted(restarts));
        let verdict = Verdict {
            image_id,
            first_partition,
            boot_order,
            counted: &counted,
        };
        allow_one_start(&card, board, &verdict);
        assert_eq!(
            card.text(TRIAL).as_deref(),
            token,
            "{boot_order} {restarts}"
        );
    }
    let card = MemoryCard::new(&Power::on());
    let counted = Err(came_back(3));
    let verdict = Verdict {
        first_partition: disk,
        ..verdict(&unfinished, &counted)
    };
    allow_one_start(&card, board, &verdict);
    assert_eq!(card.text(TRIAL).as_deref(), of_disk);
}

fn record(state: State, image_id: &str) -> Record {
    Record {
        state,
        image_id: image_id.to_owned(),
        manifest_sha256: Sha256Hex([7; 32]),
        rollback_counter: 0,
        rollback_floor: 0,
        trial_starts: 0,
        is_discarded: false,
        is_boot_order_pending: false,
        orders: Vec::new(),
    }
}

#[test]
fn a_disk_that_was_started_and_is_to_be_written_again_is_news() {
    let card = MemoryCard::new(&Power::on());
    let restart = || restart(&card, now("a"));
    let found = |state, image_id: &str, mark: &str| {
        forget_if(&card, "count", &(record(state, image_id), mark.to_owned())).expect("a card");
    };
    found(State::Proven, "rpi5-1", "b");
    assert_eq!(restart(), 1);
    found(State::Proven, "rpi5-1", "a");
    found(State::Flashing, "rpi5-1", "b");
    found(State::Proven, "rpi5-0", "b");
    assert_eq!(restart(), 2, "written again, and never started");
    found(State::Trial, "rpi5-1", "b");
    assert_eq!(restart(), 1);
}

/// The image is the counted one, and what the count says of its first bytes is not true any more.
#[test]
fn the_count_of_a_disk_that_was_started_since_is_removed_from_the_card() {
    let (_directory, disk) = empty_disk();
    let mut bytes = AlignedBuffer::new(RECORD_LENGTH);
    bytes.copy_from_slice(&record(State::Proven, "rpi5-1").to_bytes());
    disk.write_at(&bytes, RECORD_OFFSET).expect("a record");
    let card = MemoryCard::new(&Power::on());
    let file = loop_count("node");
    let mark = mark(&disk, &[]).expect("a mark");
    for (counted, stays) in [(mark.as_str(), true), ("before the start", false)] {
        card.put(&file, now(counted).to_text().as_bytes());
        forget_if_started(&card, "node", &disk, &[]);
        assert_eq!(card.text(&file).is_some(), stays, "{counted}");
    }
}

/// A table of the oldest kind, with one partition: Linux names it by the number of the disk and its own.
#[test]
fn u_boot_knows_a_disk_by_its_first_partition() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("disk");
    let mut sector = vec![0; 4 << 20];
    sector[440..444].copy_from_slice(&0x0b0e_7a3c_u32.to_le_bytes());
    sector[446 + 4] = 0x83;
    sector[446 + 8..446 + 12].copy_from_slice(&2048_u32.to_le_bytes());
    sector[446 + 12..446 + 16].copy_from_slice(&2048_u32.to_le_bytes());
    sector[510..512].copy_from_slice(&[0x55, 0xaa]);
    let finished = |path: &std::path::Path| Finished {
        target: gild_disk::select::Candidate {
            path: path.to_owned(),
            model: String::new(),
            serial: String::new(),
            size: 4 << 20,
            sector_size: 512,
        },
        image_id: None,
    };
    std::fs::write(&path, sector).expect("a disk");
    let found = first_partition(&finished(&path));
    assert_eq!(found.as_deref(), Some("0b0e7a3c-01"));
    std::fs::write(&path, vec![0; 4 << 20]).expect("a disk");
    assert_eq!(first_partition(&finished(&path)), None);
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

fn empty_disk() -> (tempfile::TempDir, gild_disk::BlockDevice) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("disk");
    let file = std::fs::File::create_new(&path).expect("a disk");
    file.set_len(4 << 20).expect("its size");
    let disk = gild_disk::BlockDevice::open_file(&path, 512).expect("the disk");
    (directory, disk)
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

#[test]
fn a_disk_that_is_written_again_starts_the_count_again() {
    let card = MemoryCard::new(&Power::on());
    let file = loop_count("node");
    card.write(&file, now("a").to_text().as_bytes())
        .expect("a card");
    forget(&card, "node");
    assert_eq!(card.text(&file), None);
}

#[test]
fn who_takes_care_of_a_board_that_comes_back_reads_what_to_do() {
    assert!(came_back(2).next_step().contains("set the boot order"));
    assert_eq!(shown(None), "(unknown)");
    assert_eq!(shown(Some(&"rpi5-1".to_owned())), "rpi5-1");
}
