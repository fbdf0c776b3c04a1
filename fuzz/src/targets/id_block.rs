//! The RK3588's ID block, as it is and with right hashes. Its programs lie inside the file, behind the header.

use crate::sha256;
use gild_boards::rk3588::IdBlock;

const HEADER: usize = 2048;
const HASHED: usize = 0x600;

fn check(bytes: &[u8]) {
    if let Ok(block) = IdBlock::parse(bytes) {
        assert!(IdBlock::begins(bytes) && block.length <= bytes.len());
        let is_inside =
            |image: &std::ops::Range<usize>| image.start >= HEADER && image.end <= block.length;
        assert!(block.images.iter().all(is_inside));
    }
}

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    check(input);
    if input.len() < HEADER {
        return;
    }
    let mut bytes = input.to_vec();
    for entry in (0..4).map(|index| 0x78 + 88 * index) {
        let half = |at: usize| usize::from(u16::from_le_bytes([input[at], input[at + 1]]));
        let start = half(entry) * 512;
        let data = input.get(start..start + half(entry + 2) * 512);
        let hash = sha256(data.unwrap_or_default());
        bytes[entry + 24..][..32].copy_from_slice(&hash);
    }
    let hash = sha256(&bytes[..HASHED]);
    bytes[HASHED..][..32].copy_from_slice(&hash);
    check(&bytes);
}
