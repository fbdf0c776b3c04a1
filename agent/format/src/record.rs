//! The commit record: 4 KiB at the end of the target's first MiB, written by gild itself.
//!
//! While an image is being written the record says which one, so that a later power-on resumes it. After the commit it says
//! which image the disk carries, and whether that image has proven that it starts: only an order may overwrite a proven
//! one. `gild image pack` refuses an image that has any data in this place.

use crate::chunk;
use crate::manifest::{MAX_IMAGE_ID, Sha256Hex};

/// The first MiB of the target is written last: this is its length in bytes.
pub const FIRST_MIB: u64 = 1 << 20;
/// Offset of the record on the target, bytes.
pub const RECORD_OFFSET: u64 = FIRST_MIB - RECORD_LENGTH as u64;
/// Length of the record, bytes.
pub const RECORD_LENGTH: usize = 4096;
/// Longest id of an order to flash, bytes.
pub const MAX_ORDER_ID: usize = 48;
/// Orders that a record remembers. An older order on another card, or below a deleted order, must not be carried out again.
pub const MAX_ORDERS: usize = 5;

const MAGIC: &[u8; 16] = b"gild record\0\0\0\0\0";
/// Its version. A reader that does not know it treats the disk as proven.
pub const VERSION: u32 = 2;
const VERSION_AT: usize = 16;
const STATE_AT: usize = 20;
const MANIFEST_AT: usize = 24;
/// Padded with NUL, which no image id has, to [`MAX_IMAGE_ID`].
const ID_AT: usize = 56;
const COUNTER_AT: usize = ID_AT + MAX_IMAGE_ID;
const FLOOR_AT: usize = COUNTER_AT + 8;
const STARTS_AT: usize = FLOOR_AT + 8;
const FLAGS_AT: usize = STARTS_AT + 4;
/// [`MAX_ORDERS`] places, each padded with NUL, which no order id has, to [`MAX_ORDER_ID`].
const ORDERS_AT: usize = FLAGS_AT + 4;
/// The SHA-256 of everything before it. All that is not zero lies in the first 512 bytes: disks write a sector whole or
/// not at all, so there is a valid record at every moment while one replaces another.
const DIGEST_AT: usize = SECTOR - 32;
const SECTOR: usize = 512;

const IS_DISCARDED: u32 = 1;
const IS_BOOT_ORDER_PENDING: u32 = 2;

/// How far the target has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Chunks of the image are being written: the disk does not boot.
    Flashing,
    /// The whole image is there and verified: the disk boots. Nothing has shown yet that the image starts.
    Trial,
    /// The image has started, and may hold what its node cannot lose.
    Proven,
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
    /// The image's rollback counter.
    pub rollback_counter: u64,
    /// Least rollback counter that another image must have: the highest of an image that has proven itself here.
    pub rollback_floor: u64,
    /// Starts of the disk that the agent has begun and that have proven nothing.
    pub trial_starts: u32,
    /// The whole disk was discarded before this image was written.
    pub is_discarded: bool,
    /// The board's boot order is still to be changed, once the image is proven.
    pub is_boot_order_pending: bool,
    /// Ids of the orders to flash that were carried out, the last one first. At most [`MAX_ORDERS`], each of at most
    /// [`MAX_ORDER_ID`] bytes.
    pub orders: Vec<String>,
}

/// What lies where the record belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A record.
    Record(Record),
    /// A record of an earlier gild, which did not distinguish a proven image from one on trial: with the image's id.
    Version1(String),
    /// A record of gild's, damaged or of a later version.
    Damaged,
    /// Nothing that gild has written.
    Nothing,
}

impl Record {
    /// The record as it lies on the disk. Ids that no valid manifest and no order can have are cut to their limits.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; RECORD_LENGTH] {
        let state: u32 = match self.state {
            State::Flashing => 1,
            State::Trial => 2,
            State::Proven => 3,
        };
        let mut flags = 0;
        for (is_set, flag) in [
            (self.is_discarded, IS_DISCARDED),
            (self.is_boot_order_pending, IS_BOOT_ORDER_PENDING),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        seal(|put| {
            put(VERSION_AT, &VERSION.to_le_bytes());
            put(STATE_AT, &state.to_le_bytes());
            put(MANIFEST_AT, &self.manifest_sha256.0);
            put(ID_AT, cut(&self.image_id, MAX_IMAGE_ID));
            put(COUNTER_AT, &self.rollback_counter.to_le_bytes());
            put(FLOOR_AT, &self.rollback_floor.to_le_bytes());
            put(STARTS_AT, &self.trial_starts.to_le_bytes());
            put(FLAGS_AT, &flags.to_le_bytes());
            for (place, id) in self.orders.iter().take(MAX_ORDERS).enumerate() {
                put(ORDERS_AT + place * MAX_ORDER_ID, cut(id, MAX_ORDER_ID));
            }
        })
    }

    /// Reads a record; bytes that are not exactly what [`Record::to_bytes`] writes are not a record.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_LENGTH] = bytes.try_into().ok()?;
        let flags = number_at(bytes, FLAGS_AT)?;
        let record = Self {
            state: match number_at(bytes, STATE_AT)? {
                1 => State::Flashing,
                2 => State::Trial,
                3 => State::Proven,
                _ => return None,
            },
            image_id: text_at(bytes, ID_AT, MAX_IMAGE_ID)?,
            manifest_sha256: Sha256Hex(*bytes[MANIFEST_AT..].first_chunk()?),
            rollback_counter: u64::from_le_bytes(*bytes[COUNTER_AT..].first_chunk()?),
            rollback_floor: u64::from_le_bytes(*bytes[FLOOR_AT..].first_chunk()?),
            trial_starts: number_at(bytes, STARTS_AT)?,
            is_discarded: flags & IS_DISCARDED != 0,
            is_boot_order_pending: flags & IS_BOOT_ORDER_PENDING != 0,
            orders: orders_in(bytes)?,
        };
        // Magic, version, padding and digest in one comparison.
        (record.to_bytes() == *bytes).then_some(record)
    }

    /// The orders that were carried out, with this one as the last.
    #[must_use]
    pub fn orders_with(&self, id: &str) -> Vec<String> {
        let before = self.orders.iter().filter(|before| *before != id).cloned();
        let ids = std::iter::once(id.to_owned()).chain(before);
        ids.take(MAX_ORDERS).collect()
    }

    /// Least rollback counter of the image that may replace this one.
    #[must_use]
    pub fn next_floor(&self) -> u64 {
        match self.state {
            State::Proven => self.rollback_floor.max(self.rollback_counter),
            State::Flashing | State::Trial => self.rollback_floor,
        }
    }
}

impl Found {
    /// What the bytes are that lie where the record belongs.
    #[must_use]
    pub fn in_bytes(bytes: &[u8]) -> Self {
        if let Some(record) = Record::parse(bytes) {
            return Self::Record(record);
        }
        if let Some(image_id) = version_1(bytes) {
            return Self::Version1(image_id);
        }
        // A flipped bit must not make a node's disk look like a foreign one. Zeros have five bytes of the magic.
        let same = bytes.iter().zip(MAGIC).filter(|(a, b)| a == b).count();
        if bytes.len() == RECORD_LENGTH && same >= MAGIC.len() / 2 {
            return Self::Damaged;
        }
        Self::Nothing
    }
}

/// The id in a record of version 1: state 1 (flashing) or 2 (committed), nothing after the id but the digest.
fn version_1(bytes: &[u8]) -> Option<String> {
    let bytes: &[u8; RECORD_LENGTH] = bytes.try_into().ok()?;
    let state = number_at(bytes, STATE_AT).filter(|state| matches!(state, 1 | 2))?;
    let image_id = text_at(bytes, ID_AT, MAX_IMAGE_ID)?;
    let expected = seal(|put| {
        put(VERSION_AT, &1_u32.to_le_bytes());
        put(STATE_AT, &state.to_le_bytes());
        put(MANIFEST_AT, &bytes[MANIFEST_AT..ID_AT]);
        put(ID_AT, image_id.as_bytes());
    });
    (expected == *bytes).then_some(image_id)
}

/// A record with these fields, its magic and its digest.
fn seal(fields: impl Fn(&mut dyn FnMut(usize, &[u8]))) -> [u8; RECORD_LENGTH] {
    let mut bytes = [0; RECORD_LENGTH];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    fields(&mut |at, field| bytes[at..at + field.len()].copy_from_slice(field));
    let digest = chunk::sha256(&bytes[..DIGEST_AT]);
    bytes[DIGEST_AT..SECTOR].copy_from_slice(&digest.0);
    bytes
}

fn orders_in(bytes: &[u8; RECORD_LENGTH]) -> Option<Vec<String>> {
    let places = (0..MAX_ORDERS).map(|place| ORDERS_AT + place * MAX_ORDER_ID);
    let ids = places.map(|at| text_at(bytes, at, MAX_ORDER_ID));
    let ids: Vec<String> = ids.collect::<Option<_>>()?;
    Some(ids.into_iter().filter(|id| !id.is_empty()).collect())
}

fn cut(text: &str, length: usize) -> &[u8] {
    &text.as_bytes()[..text.len().min(length)]
}

fn number_at(bytes: &[u8; RECORD_LENGTH], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes[at..].first_chunk()?))
}

fn text_at(bytes: &[u8; RECORD_LENGTH], at: usize, length: usize) -> Option<String> {
    let text = str::from_utf8(&bytes[at..at + length]).ok()?;
    Some(text.trim_end_matches('\0').to_owned())
}
