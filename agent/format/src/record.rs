//! The commit record: 4 KiB at the end of the target's first MiB, written by gild itself.
//!
//! While an image is being written the record says which one (so that a later power-on resumes it); after the commit
//! it says which image the disk carries (so that a card left in the slot does not flash again). `gild image pack`
//! refuses an image that has anything of its own in this place.

use crate::chunk;
use crate::manifest::{MAX_IMAGE_ID, Sha256Hex};

/// The first MiB of the target is written last: this is its length in bytes.
pub const FIRST_MIB: u64 = 1 << 20;
/// Offset of the record on the target, bytes.
pub const RECORD_OFFSET: u64 = FIRST_MIB - RECORD_LENGTH as u64;
/// Length of the record, bytes.
pub const RECORD_LENGTH: usize = 4096;

const MAGIC: &[u8; 16] = b"gild record\0\0\0\0\0";
const VERSION: u32 = 1;
const VERSION_AT: usize = 16;
const STATE_AT: usize = 20;
const MANIFEST_AT: usize = 24;
/// Padded with NUL, which no image id has, to [`MAX_IMAGE_ID`].
const ID_AT: usize = 56;
/// The SHA-256 of everything before it. All that is not zero lies in the first 512 bytes: disks write a sector whole or
/// not at all, so one record replaces another without a moment in which there is none.
const DIGEST_AT: usize = 512 - 32;

/// How far the target has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Chunks of the image are being written: the disk does not boot.
    Flashing,
    /// The whole image is there and verified: the disk boots.
    Committed,
}

/// What the target says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// How far it has come.
    pub state: State,
    /// The image; at most [`MAX_IMAGE_ID`] bytes, as in every valid manifest.
    pub image_id: String,
    /// SHA-256 of the manifest file.
    pub manifest_sha256: Sha256Hex,
}

impl Record {
    /// The record as it lies on the disk. An image id that no valid manifest can have is cut to [`MAX_IMAGE_ID`] bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; RECORD_LENGTH] {
        let id = &self.image_id.as_bytes()[..self.image_id.len().min(MAX_IMAGE_ID)];
        let state: u32 = match self.state {
            State::Flashing => 1,
            State::Committed => 2,
        };
        let mut bytes = [0; RECORD_LENGTH];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, MAGIC);
        put(VERSION_AT, &VERSION.to_le_bytes());
        put(STATE_AT, &state.to_le_bytes());
        put(MANIFEST_AT, &self.manifest_sha256.0);
        put(ID_AT, id);
        let digest = chunk::sha256(&bytes[..DIGEST_AT]);
        bytes[DIGEST_AT..512].copy_from_slice(&digest.0);
        bytes
    }

    /// Reads a record; bytes that are not exactly what [`Record::to_bytes`] writes are no record.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_LENGTH] = bytes.try_into().ok()?;
        let id = str::from_utf8(&bytes[ID_AT..ID_AT + MAX_IMAGE_ID]).ok()?;
        let record = Self {
            state: match u32::from_le_bytes(*bytes[STATE_AT..].first_chunk()?) {
                1 => State::Flashing,
                2 => State::Committed,
                _ => return None,
            },
            image_id: id.trim_end_matches('\0').to_owned(),
            manifest_sha256: Sha256Hex(*bytes[MANIFEST_AT..].first_chunk()?),
        };
        // Magic, version, padding and digest in one comparison.
        (record.to_bytes() == *bytes).then_some(record)
    }
}
