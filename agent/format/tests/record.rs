//! The commit record: it is read only if it is exactly what gild wrote.

mod common;

use common::Random;
use gild_format::Sha256Hex;
use gild_format::manifest::MAX_IMAGE_ID;
use gild_format::record::{FIRST_MIB, RECORD_LENGTH, RECORD_OFFSET, Record, State};

fn record(state: State) -> Record {
    Record {
        state,
        image_id: "rpi5-20260102-0123456789ab".to_owned(),
        manifest_sha256: Sha256Hex([9; 32]),
    }
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
        ..record(State::Flashing)
    };
    for record in [record(State::Flashing), record(State::Committed), long] {
        assert_eq!(Record::parse(&record.to_bytes()), Some(record));
    }
}

#[test]
fn the_bytes_are_those_of_the_documentation() {
    let bytes = record(State::Committed).to_bytes();
    assert_eq!(&bytes[..16], b"gild record\0\0\0\0\0");
    assert_eq!(&bytes[16..24], [1, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(&bytes[24..56], [9; 32]);
    assert_eq!(&bytes[56..83], b"rpi5-20260102-0123456789ab\0");
    assert_eq!(
        &bytes[480..488],
        [0xe4, 0xa1, 0x72, 0xaa, 0xe3, 0x08, 0x89, 0xd4]
    );
}

#[test]
fn every_flipped_bit_makes_it_no_record() {
    let sound = record(State::Committed).to_bytes();
    for bit in 0..RECORD_LENGTH * 8 {
        let mut bytes = sound;
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Record::parse(&bytes), None, "bit {bit}");
    }
}

#[test]
fn anything_else_is_no_record() {
    assert_eq!(Record::parse(&[]), None);
    assert_eq!(Record::parse(&[0; RECORD_LENGTH]), None);
    assert_eq!(
        Record::parse(&record(State::Flashing).to_bytes()[1..]),
        None
    );
    let mut random = Random(11);
    for _ in 0..2000 {
        // Half of it sound, half of it noise: what a torn write leaves.
        let mut bytes = record(State::Committed).to_bytes();
        let from = random.below(RECORD_LENGTH);
        bytes[from..].fill_with(|| random.byte());
        assert_eq!(Record::parse(&bytes), None);
    }
}
