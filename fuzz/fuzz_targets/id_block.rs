//! The RK3588's ID block, as it is and with right hashes. Its programs lie inside the file, behind the header.
#![no_main]

use gild_boards::rk3588::IdBlock;
use gild_fuzz::sha256;
use libfuzzer_sys::fuzz_target;

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

fuzz_target!(|input: &[u8]| {
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
});
