//! What there is to do, in pieces that one worker does at a time.

use std::ops::Range;

use gild_disk::TRANSFER;
use gild_format::manifest::{Chunk, Manifest};
use gild_format::record::FIRST_MIB;

use crate::ahead;

/// Bytes all chunk buffers together may take, whatever the chunk size.
///
/// A worker has one raw chunk and at times a stored chunk. With chunks of 4 MiB that is at most 8 MiB and some KiB, so eight workers
/// take 64 MiB, and what is fetched ahead 16 MiB; on top of that 1 MiB for the withheld first MiB, 1 MiB to read it back, and
/// some 160 KiB per worker inside zstd, which decodes into the raw buffer and needs no window of its own.
pub const BUFFER_BUDGET: usize = 96 << 20;

/// As many workers as two for each core of a Pi 5: while half of them wait for the disk, the others keep the cores busy. A machine with
/// fewer cores gains by them, too, because its disk has more to do at once.
pub const WORKERS: usize = 8;

/// How often anything that came out wrong is tried before it is a fault.
pub const ATTEMPTS: u32 = 3;

/// Largest range that is made zero at once, so that a sign of life comes every few seconds, as with [`TRANSFER`]: some disks
/// write every zero, and all workers may be at it at the same time.
const ZERO_PIECE: u64 = 4 << 20;

/// A piece of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The data chunk with this index.
    Data(usize),
    /// A part of a hole, bytes of the image.
    Hole(Range<u64>),
}

/// All pieces of the image in order. The first MiB belongs to none of the holes: it is written last, in full.
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

/// How many bytes of a chunk lie in the first MiB.
pub fn withheld(chunk: &Chunk) -> usize {
    let before = FIRST_MIB.saturating_sub(chunk.raw_offset);
    // At most the chunk's length, a u32.
    usize::try_from(before.min(chunk.raw_length.into())).unwrap_or(usize::MAX)
}

/// The buffer of one worker, bytes.
pub fn raw_buffer(manifest: &Manifest) -> usize {
    (manifest.chunk_size as usize).max(TRANSFER)
}

/// How many workers: as asked, but never more than the buffers' budget allows.
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
