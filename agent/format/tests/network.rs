//! The network block: it is read only if it is exactly what gild wrote.

mod common;

use std::net::Ipv4Addr;

use common::Random;
use gild_format::chunk::sha256;
use gild_format::network::{Found, MAX_SERVERS, NETWORK_LENGTH, NETWORK_OFFSET, Settings, Static};
use gild_format::record::RECORD_OFFSET;

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last)
}

fn settings() -> Settings {
    Settings {
        address: Some(Static {
            address: ip(50),
            prefix: 24,
            gateway: Some(ip(1)),
            dns: vec![ip(2), ip(3)],
        }),
        vlan: Some(100),
        ntp: vec![ip(4)],
    }
}

/// The block with other bytes at this place, and the digest that is right for them.
fn with(at: usize, other: &[u8]) -> [u8; NETWORK_LENGTH] {
    let mut bytes = settings().to_bytes();
    bytes[at..at + other.len()].copy_from_slice(other);
    let digest = sha256(&bytes[..480]);
    bytes[480..512].copy_from_slice(&digest.0);
    bytes
}

#[test]
fn it_ends_where_the_record_begins() {
    assert_eq!(NETWORK_OFFSET, 0xfe000);
    assert_eq!(NETWORK_OFFSET + NETWORK_LENGTH as u64, RECORD_OFFSET);
}

#[test]
fn it_survives_the_disk() {
    let full = Settings {
        address: Some(Static {
            prefix: 32,
            gateway: None,
            dns: vec![ip(9); MAX_SERVERS],
            ..settings().address.expect("an address")
        }),
        vlan: Some(4094),
        ntp: vec![ip(8); MAX_SERVERS],
    };
    let only_vlan = Settings {
        vlan: Some(1),
        ..Settings::default()
    };
    let only_ntp = Settings {
        ntp: vec![ip(4)],
        ..Settings::default()
    };
    for settings in [settings(), full, only_vlan, only_ntp] {
        let bytes = settings.to_bytes();
        assert!(bytes[512..].iter().all(|byte| *byte == 0), "one sector");
        assert_eq!(Found::in_bytes(&bytes), Found::Settings(settings));
    }
}

#[test]
fn its_bytes_are_as_documented() {
    let bytes = settings().to_bytes();
    let mut expected = [0; 480];
    expected[..12].copy_from_slice(b"gild network");
    expected[16..20].copy_from_slice(&[1, 0, 0, 0]);
    expected[20..24].copy_from_slice(&[100, 0, 24, 0]);
    expected[24..28].copy_from_slice(&[192, 168, 1, 50]);
    expected[28..32].copy_from_slice(&[192, 168, 1, 1]);
    expected[32..40].copy_from_slice(&[192, 168, 1, 2, 192, 168, 1, 3]);
    expected[64..68].copy_from_slice(&[192, 168, 1, 4]);
    assert_eq!(bytes[..480], expected);
    assert_eq!(bytes[480..512], sha256(&expected).0);
}

#[test]
fn nothing_set_is_nothing_on_the_disk() {
    let bytes = Settings::default().to_bytes();
    assert_eq!(bytes, [0; NETWORK_LENGTH]);
    assert_eq!(Found::in_bytes(&bytes), Found::Nothing);
}

#[test]
fn any_flipped_bit_makes_it_damaged() {
    let good = settings().to_bytes();
    for bit in 0..NETWORK_LENGTH * 8 {
        let mut bytes = good;
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Found::in_bytes(&bytes), Found::Damaged, "bit {bit}");
    }
}

#[test]
fn a_part_of_it_and_foreign_bytes_are_damaged() {
    let good = settings().to_bytes();
    let mut random = Random(7);
    for _ in 0..100 {
        let length = random.below(NETWORK_LENGTH);
        assert_eq!(Found::in_bytes(&good[..length]), Found::Damaged);
        let mut torn = good;
        torn[length.min(511)..].fill(0);
        assert_ne!(Found::in_bytes(&torn), Found::Settings(settings()));
    }
    for foreign in [[0xff; NETWORK_LENGTH], [b'x'; NETWORK_LENGTH]] {
        assert_eq!(Found::in_bytes(&foreign), Found::Damaged);
    }
}

#[test]
fn what_gild_never_writes_is_damaged_even_with_a_right_digest() {
    for (what, at, other) in [
        ("another version", 16, &[2, 0, 0, 0][..]),
        ("another magic", 0, b"gilt"),
        ("a VLAN beyond 4094", 20, &[0xff, 0x0f]),
        ("a prefix beyond 32", 22, &[33]),
        ("an address without a prefix", 22, &[0]),
        ("a prefix without an address", 24, &[0; 16]),
        ("a gateway without an address", 22, &[0; 6]),
        ("padding", 23, &[1]),
        ("a gap before a name server", 32, &[0; 4]),
        ("something after the servers", 96, &[1]),
    ] {
        assert_eq!(Found::in_bytes(&with(at, other)), Found::Damaged, "{what}");
    }
    // The digest of the changed block is right: the same block, unchanged, is taken.
    assert_eq!(
        Found::in_bytes(&with(0, b"gild")),
        Found::Settings(settings())
    );
}
