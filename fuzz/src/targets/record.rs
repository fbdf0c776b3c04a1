//! The commit record, as it is and with a right digest. Accepted input is written back byte for byte.

use crate::sha256;
use gild_format::record::{Found, MAX_ORDER_ID, MAX_ORDERS, RECORD_LENGTH, Record};

const DIGEST: std::ops::Range<usize> = 480..512;

fn check(bytes: &[u8]) {
    let found = Found::in_bytes(bytes);
    let Some(record) = Record::parse(bytes) else {
        assert!(!matches!(found, Found::Record(_)));
        return;
    };
    assert_eq!(record.to_bytes(), bytes);
    assert!(record.orders.len() <= MAX_ORDERS);
    assert!(record.orders.iter().all(|id| id.len() <= MAX_ORDER_ID));
    assert!(record.next_floor() >= record.rollback_floor);
    assert_eq!(found, Found::Record(record));
}

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    check(input);
    let mut bytes = input.to_vec();
    bytes.resize(RECORD_LENGTH, 0);
    check(&bytes);
    let digest = sha256(&bytes[..DIGEST.start]);
    bytes[DIGEST].copy_from_slice(&digest);
    check(&bytes);
}
