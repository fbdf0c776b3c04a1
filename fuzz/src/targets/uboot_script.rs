//! U-Boot's script, as it is and with right checksums. Accepted input is the same after it is written and read again.

use gild_boards::uboot_script::Script;

const HEADER: usize = 64;

fn check(bytes: &[u8]) {
    if let Ok(script) = Script::parse(bytes) {
        assert!(Script::begins(bytes));
        let written = script.to_bytes().expect("a script");
        assert_eq!(Script::parse(&written), Ok(script));
    }
}

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    check(input);
    let mut bytes = input.to_vec();
    if bytes.len() < HEADER {
        return;
    }
    let length = u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
    let end = bytes.len().min(HEADER.saturating_add(length as usize));
    let data = crc32fast::hash(&bytes[HEADER..end]);
    bytes[24..28].copy_from_slice(&data.to_be_bytes());
    bytes[4..8].fill(0);
    let header = crc32fast::hash(&bytes[..HEADER]);
    bytes[4..8].copy_from_slice(&header.to_be_bytes());
    check(&bytes);
}
