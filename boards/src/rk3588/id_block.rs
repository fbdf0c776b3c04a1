//! The ID block, version 2: a header and up to four programs for the ROM to start, each with its hash.
//!
//! U-Boot's `tools/rkcommon.c` defines the format; `mkimage -T rksd -n rk3588` makes it.

use std::ops::Range;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::wire::le32;

const MAGIC: &[u8] = b"RKNS";
const SECTOR: usize = 512;
/// The header's first bytes, covered by the hash that follows them.
const HASHED: usize = 0x600;
const HASH: usize = 32;
/// Where in the header the hash is, in 32-bit words: there is no other place for it.
const HASH_WORD: u32 = 0x600 / 4;
/// How programs and header are hashed: by SHA-256, and not signed.
const SHA256: u32 = 1;
const MAX_IMAGES: u32 = 4;
const ENTRIES: usize = 0x78;
const ENTRY: usize = 88;
const ENTRY_HASH: usize = 24;
/// The header's sectors.
const HEADER: usize = 4 * SECTOR;

/// Why bytes are not a whole ID block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IdBlockError {
    /// There is none.
    #[error("no Rockchip ID block begins here")]
    Magic,
    /// It ends too early.
    #[error("it is cut off: {length} bytes of {expected}")]
    CutOff {
        /// Bytes that are there.
        length: usize,
        /// Bytes that there should be.
        expected: usize,
    },
    /// It is made in a way that mkimage does not, and this program cannot say whether it is whole: it is signed, for example.
    #[error(
        "its header is not of the kind that U-Boot's mkimage makes for the RK3588: signed, or hashed in another way"
    )]
    Header,
    /// The header is not what its hash says.
    #[error("damaged: the hash of its header differs from the stored one")]
    HeaderHash,
    /// A program is not what its hash says.
    #[error("damaged: the hash of its program {0} differs from the stored one")]
    ImageHash(u32),
}

/// A whole ID block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdBlock {
    /// Where its programs are, from its start: what initializes the memory, and U-Boot's SPL.
    pub images: Vec<Range<usize>>,
    /// Bytes from its start to the end of the last program.
    pub length: usize,
}

impl IdBlock {
    /// Whether these bytes begin like an ID block, whole or not.
    #[must_use]
    pub fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// Reads the ID block that begins with these bytes, and checks its hashes. More may follow it.
    pub fn parse(bytes: &[u8]) -> Result<Self, IdBlockError> {
        if !Self::begins(bytes) {
            return Err(IdBlockError::Magic);
        }
        let cut_off = |expected| IdBlockError::CutOff {
            length: bytes.len(),
            expected,
        };
        let header = bytes.get(..HEADER).ok_or_else(|| cut_off(HEADER))?;
        let field = |at| le32(header, at).ok_or_else(|| cut_off(HEADER));
        let (layout, hash_type) = (field(8)?, field(12)?);
        let (count, hash_word) = (layout >> 16, layout & 0xffff);
        if hash_word != HASH_WORD || hash_type != SHA256 || !(1..=MAX_IMAGES).contains(&count) {
            return Err(IdBlockError::Header);
        }
        if !is_hash_of(&header[HASHED..], &header[..HASHED]) {
            return Err(IdBlockError::HeaderHash);
        }
        let mut images = Vec::new();
        for number in 1..=count {
            let entry = ENTRIES + ENTRY * images.len();
            let place = field(entry)?;
            let start = (place & 0xffff) as usize * SECTOR;
            let image = start..start + (place >> 16) as usize * SECTOR;
            if start < HEADER {
                return Err(IdBlockError::Header);
            }
            let data = bytes.get(image.clone()).ok_or_else(|| cut_off(image.end))?;
            if !is_hash_of(&header[entry + ENTRY_HASH..], data) {
                return Err(IdBlockError::ImageHash(number));
            }
            images.push(image);
        }
        let ends = images.iter().map(|image| image.end);
        Ok(Self {
            length: ends.fold(HEADER, usize::max),
            images,
        })
    }
}

/// Where an ID block with so many programs keeps the hashes of its header and of each of them.
pub(super) fn hashes(programs: usize) -> impl Iterator<Item = Range<usize>> {
    let of_programs = (0..programs).map(|index| ENTRIES + ENTRY * index + ENTRY_HASH);
    of_programs.chain([HASHED]).map(|at| at..at + HASH)
}

fn is_hash_of(stored: &[u8], data: &[u8]) -> bool {
    stored[..HASH] == *Sha256::digest(data)
}
