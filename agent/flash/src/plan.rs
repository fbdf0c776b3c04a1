//! What there is to do, in pieces that one worker does at a time.

use std::ops::Range;

use gild_disk::TRANSFER;
use gild_format::manifest::{Chunk, Manifest};
use gild_format::record::FIRST_MIB;

use crate::ahead;

/// At most this many bytes for all chunk buffers together, whatever the chunk size.
///
/// A worker has one raw chunk and at times a stored chunk. With chunks of 4 MiB that is at most 8 MiB and some KiB. So eight workers take
/// 64 MiB, and chunks fetched ahead take 16 MiB. In addition there is 1 MiB for the withheld first MiB, 1 MiB to read it back, and some 160
/// KiB per worker inside zstd, which decodes into the raw buffer and needs no window of its own.
pub const BUFFER_BUDGET: usize = 96 << 20;

/// Two workers for each core of a Pi 5: while half of them wait for the disk, the others keep the cores busy. A machine with fewer cores
/// also gains, because its disk has more to do at a time.
pub const WORKERS: usize = 8;

/// How often a failed operation is tried before it is a fault.
pub const ATTEMPTS: u32 = 3;

/// The largest range that is zeroed in one call, like [`TRANSFER`]. It gives a sign of life every few seconds: some disks write every zero,
/// and all workers may be zeroing at the same time.
const ZERO_PIECE: u64 = 4 << 20;

/// A piece of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The data chunk with this index.
    Data(usize),
    /// A part of a hole, bytes of the image.
    Hole(Range<u64>),
}

/// All pieces of the image in order. No hole includes a part of the first MiB, because that is written last and in full.
pub fn pieces(manifest: &Manifest) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (index, chunk) in manifest.chunks.iter().enumerate() {
        if !chunk.hole {
            pieces.push(Piece::Data(index));
            continue;
        }
        let start = chunk.raw_offset.max(FIRST_MIB);
        let end = chunk.raw_offset + u64::from(chunk.raw_length);
        if start >= end {
            continue;
        }
        match pieces.last_mut() {
            Some(Piece::Hole(hole)) if hole.end == start && end - hole.start <= ZERO_PIECE => {
                hole.end = end;
            }
            _ => pieces.push(Piece::Hole(start..end)),
        }
    }
    pieces
}

/// How many bytes of a chunk lie in the first MiB and are therefore written last.
pub fn withheld(chunk: &Chunk) -> usize {
    let before = FIRST_MIB.saturating_sub(chunk.raw_offset);
    // At most the chunk's length, a u32.
    usize::try_from(before.min(chunk.raw_length.into())).unwrap_or(usize::MAX)
}

/// The buffer of one worker, bytes.
pub fn raw_buffer(manifest: &Manifest) -> usize {
    (manifest.chunk_size as usize).max(TRANSFER)
}

/// The number of workers: as many as asked for, within the budget for buffers.
pub fn workers(manifest: &Manifest, asked: Option<usize>) -> usize {
    let data = manifest.chunks.iter().filter(|chunk| !chunk.hole);
    let stored = data.map(|chunk| chunk.stored_length as usize).max();
    asked
        .unwrap_or(WORKERS)
        .min((BUFFER_BUDGET - ahead::BUDGET) / (raw_buffer(manifest) + stored.unwrap_or(0)))
        .max(1)
}

/// The range in parts of at most `length` bytes: offset and length of each.
pub fn parts(range: &Range<u64>, length: usize) -> impl Iterator<Item = (u64, usize)> {
    let end = range.end;
    range.clone().step_by(length).map(move |offset| {
        (
            offset,
            usize::try_from(end - offset).map_or(length, |rest| rest.min(length)),
        )
    })
}
