//! A chunk is taken only if it decodes to exactly the bytes the manifest promises.

mod common;

use common::Random;
use gild_format::chunk::{self, ChunkError, Decoder};
use gild_format::{Chunk, Sha256Hex};

fn raw() -> Vec<u8> {
    let mut random = Random(7);
    (0..100_000)
        .map(|at| if at % 1000 < 500 { 0 } else { random.byte() })
        .collect()
}

fn stored_and_chunk(raw: &[u8]) -> (Vec<u8>, Chunk) {
    let stored = zstd::bulk::compress(raw, 3).expect("zstd compresses");
    let chunk = Chunk {
        raw_offset: 4096,
        raw_length: u32::try_from(raw.len()).expect("small"),
        stored_offset: 0,
        stored_length: u32::try_from(stored.len()).expect("small"),
        sha256: chunk::sha256(raw),
        hole: false,
    };
    (stored, chunk)
}

fn decode(chunk: &Chunk, stored: &[u8]) -> Result<Vec<u8>, ChunkError> {
    let mut out = vec![0xaa; chunk.raw_length as usize];
    Decoder::new()?.decode(chunk, stored, &mut out)?;
    Ok(out)
}

#[test]
fn a_sound_chunk_decodes() {
    let raw = raw();
    let (stored, chunk) = stored_and_chunk(&raw);
    assert_eq!(decode(&chunk, &stored), Ok(raw));
}

#[test]
fn the_wrong_bytes_in_a_sound_frame_are_refused() {
    let mut raw = raw();
    let (_, chunk) = stored_and_chunk(&raw);
    raw[99_999] ^= 1;
    let (stored, other) = stored_and_chunk(&raw);
    let chunk = Chunk {
        stored_length: other.stored_length,
        ..chunk
    };
    let expected = ChunkError::Digest {
        offset: 4096,
        expected: chunk.sha256,
        found: other.sha256,
    };
    assert_eq!(decode(&chunk, &stored), Err(expected));
}

#[test]
fn a_frame_that_is_shorter_or_longer_than_promised_is_refused() {
    let raw = raw();
    let (stored, chunk) = stored_and_chunk(&raw[..99_999]);
    // One byte more is promised than the frame holds.
    let longer = Chunk {
        raw_length: 100_000,
        ..chunk.clone()
    };
    assert_eq!(
        decode(&longer, &stored),
        Err(ChunkError::Length {
            offset: 4096,
            expected: 100_000,
            found: 99_999
        })
    );
    // One byte less: zstd has no room for the rest.
    let shorter = Chunk {
        raw_length: 99_998,
        ..chunk.clone()
    };
    assert!(matches!(
        decode(&shorter, &stored),
        Err(ChunkError::Frame { .. })
    ));
    // The stored bytes themselves.
    assert!(matches!(
        decode(&chunk, &stored[1..]),
        Err(ChunkError::Length { .. })
    ));
}

#[test]
fn every_flipped_bit_of_a_frame_is_refused() {
    let raw = raw();
    let (stored, chunk) = stored_and_chunk(&raw[..2000]);
    for bit in 0..stored.len() * 8 {
        let mut damaged = stored.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // A bit of the frame header may mean nothing to the content; then the content is the promised one.
        if let Ok(out) = decode(&chunk, &damaged) {
            assert_eq!(out, raw[..2000], "bit {bit}");
        }
    }
}

#[test]
fn digests_have_one_spelling() {
    let digest = chunk::sha256(b"abc");
    assert_eq!(
        digest.to_string(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(digest.to_string().parse(), Ok(digest));
    for bad in [
        "",
        "ba78",
        &digest.to_string().to_uppercase(),
        &format!("{digest}0"),
        &"g".repeat(64),
    ] {
        assert!(bad.parse::<Sha256Hex>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_single_set_bit_is_not_zero_wherever_it_is() {
    let mut bytes = vec![0; 10_003];
    assert!(chunk::is_zero(&bytes) && chunk::is_zero(&[]));
    for at in 0..bytes.len() {
        bytes[at] = 0x80;
        assert!(!chunk::is_zero(&bytes), "{at}");
        bytes[at] = 0;
    }
}
