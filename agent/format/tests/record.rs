//! The commit record: it is read only if it is exactly what gild wrote.

mod common;

use common::Random;
use gild_format::chunk::sha256;
use gild_format::manifest::{MAX_IMAGE_ID, Sha256Hex};
use gild_format::record::{
    FIRST_MIB, Found, MAX_ORDER_ID, MAX_ORDERS, RECORD_LENGTH, RECORD_OFFSET, Record, State,
};

fn record(state: State) -> Record {
    Record {
        state,
        image_id: "rpi5-20260102-0123456789ab".to_owned(),
        manifest_sha256: Sha256Hex([9; 32]),
        rollback_counter: 0x0102_0304,
        rollback_floor: 5,
        trial_starts: 6,
        is_discarded: true,
        is_boot_order_pending: false,
        orders: vec!["2026-12-01".to_owned(), "b".to_owned()],
    }
}

/// What gild wrote before a record could say that an image is proven.
fn version_1() -> [u8; RECORD_LENGTH] {
    let mut bytes = [0; RECORD_LENGTH];
    bytes[..11].copy_from_slice(b"gild record");
    bytes[16..24].copy_from_slice(&[1, 0, 0, 0, 2, 0, 0, 0]);
    bytes[24..56].fill(9);
    bytes[56..82].copy_from_slice(b"rpi5-20260102-0123456789ab");
    let digest = sha256(&bytes[..480]);
    bytes[480..512].copy_from_slice(&digest.0);
    bytes
}

#[test]
fn it_is_the_last_block_of_the_first_mib() {
    assert_eq!(
        (RECORD_OFFSET, RECORD_OFFSET + RECORD_LENGTH as u64),
        (0xff000, FIRST_MIB)
    );
}

#[test]
fn it_survives_the_disk() {
    let long = Record {
        image_id: "x".repeat(MAX_IMAGE_ID),
        orders: vec!["y".repeat(MAX_ORDER_ID); MAX_ORDERS],
        is_discarded: false,
        is_boot_order_pending: true,
        rollback_counter: u64::MAX,
        rollback_floor: u64::MAX,
        trial_starts: u32::MAX,
        ..record(State::Flashing)
    };
    let states = [State::Flashing, State::Trial, State::Proven];
    for record in states.map(record).into_iter().chain([long]) {
        let bytes = record.to_bytes();
        assert!(bytes[512..].iter().all(|byte| *byte == 0), "one sector");
        assert_eq!(Record::parse(&bytes), Some(record.clone()));
        assert_eq!(Found::in_bytes(&bytes), Found::Record(record));
    }
}

#[test]
fn the_bytes_are_as_documented() {
    let bytes = record(State::Proven).to_bytes();
    assert_eq!(&bytes[..16], b"gild record\0\0\0\0\0");
    assert_eq!(&bytes[16..24], [2, 0, 0, 0, 3, 0, 0, 0]);
    assert_eq!(&bytes[24..56], [9; 32]);
    assert_eq!(&bytes[56..83], b"rpi5-20260102-0123456789ab\0");
    assert_eq!(&bytes[184..192], [4, 3, 2, 1, 0, 0, 0, 0]);
    assert_eq!(&bytes[192..200], [5, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(&bytes[200..208], [6, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(&bytes[208..219], b"2026-12-01\0");
    assert_eq!(&bytes[256..258], b"b\0");
    assert_eq!(&bytes[480..512], sha256(&bytes[..480]).0);
}

#[test]
fn a_record_of_version_1_is_known_with_its_image() {
    let image_id = "rpi5-20260102-0123456789ab".to_owned();
    assert_eq!(Record::parse(&version_1()), None);
    assert_eq!(Found::in_bytes(&version_1()), Found::Version1(image_id));
    let digest = &version_1()[480..488];
    assert_eq!(
        digest,
        [0xe4, 0xa1, 0x72, 0xaa, 0xe3, 0x08, 0x89, 0xd4],
        "the bytes that gild wrote"
    );
}

#[test]
fn every_flipped_bit_makes_it_a_damaged_record_and_never_a_foreign_disk() {
    for sound in [record(State::Proven).to_bytes(), version_1()] {
        for bit in 0..RECORD_LENGTH * 8 {
            let mut bytes = sound;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::parse(&bytes), None, "bit {bit}");
            assert_eq!(Found::in_bytes(&bytes), Found::Damaged, "bit {bit}");
        }
    }
}

#[test]
fn anything_else_is_not_a_record() {
    let mut later = record(State::Proven).to_bytes();
    later[16] = 3;
    assert_eq!(Found::in_bytes(&later), Found::Damaged, "a later version");
    for foreign in [
        &[][..],
        &[0; RECORD_LENGTH],
        &[0xff; RECORD_LENGTH],
        &[b'x'; RECORD_LENGTH],
        &record(State::Flashing).to_bytes()[1..],
    ] {
        assert_eq!(Record::parse(foreign), None);
        assert_eq!(Found::in_bytes(foreign), Found::Nothing);
    }
    let mut random = Random(11);
    for _ in 0..2000 {
        // Half of it sound, half of it noise: what a torn write leaves.
        let mut bytes = record(State::Proven).to_bytes();
        let from = random.below(RECORD_LENGTH);
        bytes[from..].fill_with(|| random.byte());
        assert_eq!(Record::parse(&bytes), None);
    }
}

#[test]
fn only_a_proven_image_raises_the_floor() {
    let of = |state, rollback_counter, rollback_floor| {
        let record = Record {
            rollback_counter,
            rollback_floor,
            ..record(state)
        };
        record.next_floor()
    };
    assert_eq!(of(State::Proven, 9, 4), 9);
    assert_eq!(of(State::Proven, 4, 9), 9, "never down");
    assert_eq!(of(State::Trial, 9, 4), 4);
    assert_eq!(of(State::Flashing, 9, 4), 4);
}

#[test]
fn the_last_orders_are_remembered() {
    let mut record = record(State::Proven);
    record.orders = record.orders_with("b");
    assert_eq!(record.orders, ["b", "2026-12-01"]);
    for id in ["1", "2", "3", "4"] {
        record.orders = record.orders_with(id);
    }
    assert_eq!(record.orders, ["4", "3", "2", "1", "b"]);
}
