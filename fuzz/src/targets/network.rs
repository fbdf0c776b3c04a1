//! The network block, as it is and with a right digest. Accepted input is written back byte for byte.

use crate::sha256;
use gild_format::network::{Found, MAX_PREFIX, MAX_SERVERS, MAX_VLAN, NETWORK_LENGTH};

const DIGEST: std::ops::Range<usize> = 480..512;

fn check(bytes: &[u8]) {
    match Found::in_bytes(bytes) {
        Found::Damaged => {}
        Found::Nothing => assert!(bytes.iter().all(|byte| *byte == 0)),
        Found::Settings(settings) => {
            assert_eq!(settings.to_bytes(), bytes);
            assert!(settings.ntp.len() <= MAX_SERVERS);
            assert!(
                settings
                    .vlan
                    .is_none_or(|vlan| (1..=MAX_VLAN).contains(&vlan))
            );
            let address = settings.address;
            assert!(address.is_none_or(|it| {
                (1..=MAX_PREFIX).contains(&it.prefix) && it.dns.len() <= MAX_SERVERS
            }));
        }
    }
}

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    check(input);
    let mut bytes = input.to_vec();
    bytes.resize(NETWORK_LENGTH, 0);
    check(&bytes);
    let digest = sha256(&bytes[..DIGEST.start]);
    bytes[DIGEST].copy_from_slice(&digest);
    check(&bytes);
}
