//! A chunk's zstd frame. The decoder writes nothing behind its buffer, and accepts only data with the right digest.

use crate::parts;
use gild_format::chunk::{ChunkError, Decoder};
use gild_format::{Chunk, Sha256Hex};

const GUARD: [u8; 64] = [0xa5; 64];

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    let [length, stored] = parts(input);
    let raw_length = length
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
        & 0xf_ffff;
    let mut chunk = Chunk {
        raw_offset: 0,
        raw_length: u32::try_from(raw_length).expect("20 bits"),
        stored_offset: 0,
        stored_length: u32::try_from(stored.len()).expect("a short input"),
        sha256: Sha256Hex([0; 32]),
        hole: false,
    };
    let mut buffer = vec![0; raw_length];
    buffer.extend(GUARD);
    let mut decoder = Decoder::new().expect("memory");
    let (raw, guard) = buffer.split_at_mut(raw_length);
    let result = decoder.decode(&chunk, stored, raw);
    assert_eq!(guard, GUARD);
    let Err(error) = result else {
        panic!("nothing has a digest of zeros");
    };
    if let ChunkError::Digest { found, .. } = error {
        chunk.sha256 = found;
        assert_eq!(decoder.decode(&chunk, stored, raw), Ok(()));
        assert_eq!(gild_format::chunk::sha256(raw), found);
    }
}
