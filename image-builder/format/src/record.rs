//! The commit record: 4 KiB at the end of the target's first MiB, written by gild itself.
//!
//! While an image is being written the record says which one (so that a later power-on resumes it); after the commit
//! it says which image the disk carries (so that a card left in the slot does not flash again). `gild image pack`
//! refuses an image that has anything of its own in this place.

/// The first MiB of the target is written last: this is its length in bytes.
pub const FIRST_MIB: u64 = 1 << 20;
/// Offset of the record on the target, bytes.
pub const RECORD_OFFSET: u64 = FIRST_MIB - RECORD_LENGTH as u64;
/// Length of the record, bytes.
pub const RECORD_LENGTH: usize = 4096;
