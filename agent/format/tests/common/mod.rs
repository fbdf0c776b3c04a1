//! What the format's tests share.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;

use gild_format::manifest::FORMAT_VERSION;
use gild_format::{Chunk, Manifest, Partition, Sha256Hex, chunk};

/// A sound manifest: 9 MiB in chunks of 4 MiB, the second one a hole, two partitions side by side.
pub fn sample() -> Manifest {
    let zeros = chunk::sha256(&vec![0; 4 << 20]);
    let chunk = |index: u64, raw_length, stored_offset, stored_length, sha256, hole| Chunk {
        raw_offset: index * (4 << 20),
        raw_length,
        stored_offset,
        stored_length,
        sha256,
        hole,
    };
    let partition = |number, start, length| Partition {
        number,
        start,
        length,
        kind: "0fc63daf-8483-4772-8e79-3d69d8477de4".to_owned(),
        uuid: format!("00000000-0000-4000-8000-00000000000{number}"),
        name: "root".to_owned(),
    };
    Manifest {
        format_version: FORMAT_VERSION,
        board: "rpi5".to_owned(),
        image_id: "rpi5-20260102-0123456789ab".to_owned(),
        build_time: 1_767_312_000,
        rollback_counter: 0,
        proves_itself: false,
        min_agent_version: "0.1.0".to_owned(),
        raw_size: 9 << 20,
        sector_size: 512,
        chunk_size: 4 << 20,
        stored_file: "rpi5-20260102-0123456789ab.img.zst".to_owned(),
        stored_size: 10_000,
        stored_sha256: Sha256Hex([1; 32]),
        partitions: vec![
            partition(1, 1 << 20, 3 << 20),
            partition(2, 4 << 20, 4 << 20),
        ],
        tools: BTreeMap::from([("gild".to_owned(), "0.1.0".to_owned())]),
        chunks: vec![
            chunk(0, 4 << 20, 0, 1000, Sha256Hex([2; 32]), false),
            chunk(1, 4 << 20, 1000, 500, zeros, true),
            chunk(2, 1 << 20, 1500, 8000, Sha256Hex([3; 32]), false),
        ],
    }
}

/// Marsaglia's xorshift64: the same numbers in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("below a usize")
    }

    pub fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}
