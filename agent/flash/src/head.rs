//! The first MiB, and with it what the disk claims to be.
//!
//! The very first sector decides: without it no partition table is valid, and with it the disk boots. Disks write a sector whole or not at
//! all. So the flash removes it first and writes it last. That makes both ends of a flash atomic, in whatever order the disk writes other
//! sectors, and whatever it loses when the power goes.

use std::ops::Range;

use gild_disk::{AlignedBuffer, Target};
use gild_format::manifest::{Chunk, Manifest, Partition, Sha256Hex};
use gild_format::network::{NETWORK_LENGTH, Settings};
use gild_format::record::{FIRST_MIB, Found, RECORD_LENGTH, RECORD_OFFSET, Record, State};

use crate::medium::Medium;
use crate::plan::{self, ATTEMPTS};
use crate::progress::Progress;
use crate::{FlashError, Job};

/// The first MiB as bytes in memory.
#[expect(clippy::cast_possible_truncation, reason = "one MiB fits everywhere")]
pub const LENGTH: usize = FIRST_MIB as usize;

/// What a target carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// This image, committed: there is nothing to write.
    Done,
    /// This image, not committed. The chunks that are there may be kept.
    Resumable,
    /// Anything else.
    Other,
}

/// Where the withheld part of a chunk lies in the first MiB.
pub fn range_of(chunk: &Chunk) -> Range<usize> {
    // A chunk with a withheld part starts in the first MiB.
    let start = usize::try_from(chunk.raw_offset).unwrap_or(LENGTH);
    start..start + plan::withheld(chunk)
}

/// The record this flash leaves on the disk.
pub fn record(job: &Job<'_>, state: State, is_discarded: bool) -> Record {
    let terms = &job.options.terms;
    Record {
        state,
        image_id: job.manifest.image_id.clone(),
        manifest_sha256: job.manifest_sha256,
        rollback_counter: job.manifest.rollback_counter,
        rollback_floor: terms.rollback_floor,
        trial_starts: terms.trial_starts,
        is_discarded,
        is_boot_order_pending: terms.is_boot_order_pending,
        orders: terms.orders.clone(),
    }
}

/// The state of an image after its commit. An image that does not prove itself is never on trial, because its node would be lost.
pub const fn committed(manifest: &Manifest) -> State {
    if manifest.proves_itself {
        State::Trial
    } else {
        State::Proven
    }
}

/// What is at the record's place.
pub fn found(target: &dyn Target) -> std::io::Result<Found> {
    let mut bytes = AlignedBuffer::new(RECORD_LENGTH);
    target.read_at(&mut bytes, RECORD_OFFSET)?;
    Ok(Found::in_bytes(&bytes))
}

fn is_flashing(found: &Found) -> bool {
    matches!(found, Found::Record(record) if record.state == State::Flashing)
}

/// What the disk says about itself.
pub fn state(
    manifest: &Manifest,
    manifest_sha256: Sha256Hex,
    target: &dyn Target,
) -> std::io::Result<TargetState> {
    let (is_committed, image_id) = match found(target)? {
        Found::Record(found) if found.state == State::Flashing => {
            let is_this_one =
                found.image_id == manifest.image_id && found.manifest_sha256 == manifest_sha256;
            return Ok(if is_this_one {
                TargetState::Resumable
            } else {
                TargetState::Other
            });
        }
        Found::Record(found) => (true, found.image_id),
        Found::Version1(image_id) => (true, image_id),
        Found::Damaged | Found::Nothing => (false, String::new()),
    };
    // An image id always stands for the same content. If only its manifest was made again, that must not cost a node its data.
    if is_committed && image_id == manifest.image_id {
        let table = target.partition_table()?.unwrap_or_default();
        if manifest
            .partitions
            .iter()
            .all(|wanted| starts_as(wanted, &table))
        {
            return Ok(TargetState::Done);
        }
        // Either the flash was interrupted just before the first sector, or the disk was made unbootable on purpose. Some chunks may still
        // be right.
        return Ok(TargetState::Resumable);
    }
    Ok(TargetState::Other)
}

/// Only the start counts, because a node grows its root partition.
fn starts_as(wanted: &Partition, table: &[Partition]) -> bool {
    table
        .iter()
        .any(|found| found.number == wanted.number && found.start == wanted.start)
}

/// Makes the disk unbootable, discards what will not be resumed, and writes a record of the image that is coming. Returns whether
/// everything has been discarded for this image, in this flash or before it was interrupted.
pub fn prepare(
    medium: &Medium<'_>,
    job: &Job<'_>,
    state: TargetState,
    progress: &Progress<'_>,
) -> Result<bool, FlashError> {
    let before = found(medium.target)
        .map_err(|error| medium.failed("reading the record of".to_owned(), error))?;
    let sector = medium.target.sector_size() as usize;
    let mut bytes = AlignedBuffer::new(LENGTH);
    // This comes first: otherwise a power cut could leave an old commit that still looks whole.
    medium.write(&bytes[..sector], 0, progress)?;
    medium.flush()?;
    let is_discarded = match state {
        // An interrupted flash continues. It has already discarded the disk before its first chunk.
        TargetState::Resumable if is_flashing(&before) => {
            matches!(before, Found::Record(record) if record.is_discarded)
        }
        TargetState::Other if job.options.erase => {
            let everything = FIRST_MIB..medium.target.size();
            let is_discarded = medium.discard(everything.clone(), progress);
            if !is_discarded {
                medium.zero_all(everything, progress)?;
            }
            is_discarded
        }
        // Only what the image does not cover: the rest is written, zeroed, or kept because it is right. To discard that would gain nothing.
        TargetState::Other | TargetState::Resumable | TargetState::Done => {
            let end = job.manifest.raw_size.next_multiple_of(sector as u64);
            medium.discard(end..medium.target.size(), progress)
        }
    };
    put_record(&mut bytes, &record(job, State::Flashing, is_discarded));
    medium.write(&bytes[sector..], sector as u64, progress)?;
    // This removes the backup of the old partition table, because some firmware would repair the table from it. If the image's own data
    // there may be kept, it stays.
    let size = medium.target.size();
    let end = size.saturating_sub(FIRST_MIB).max(match state {
        TargetState::Resumable | TargetState::Done => job.manifest.raw_size,
        TargetState::Other => FIRST_MIB,
    });
    if end < size {
        let zeros = AlignedBuffer::new(usize::try_from(size - end).unwrap_or(LENGTH));
        medium.write(&zeros, end, progress)?;
    }
    medium.flush()?;
    Ok(is_discarded)
}

/// Writes the first MiB, with the record and the network block in it. Its first sector comes last. Everything else is already on the medium
/// and verified.
pub fn commit(
    medium: &Medium<'_>,
    head: &mut [u8],
    committed: &Record,
    network: &Settings,
    partitions: &[Partition],
    progress: &Progress<'_>,
) -> Result<(), FlashError> {
    let sector = medium.target.sector_size() as usize;
    put_record(head, committed);
    let record_at = LENGTH - RECORD_LENGTH;
    head[record_at - NETWORK_LENGTH..record_at].copy_from_slice(&network.to_bytes());
    write_verified(medium, &head[sector..], sector as u64, progress)?;
    let bootable = write_verified(medium, &head[..sector], 0, progress)
        .and_then(|()| check_partitions(medium, partitions));
    if bootable.is_err() {
        // Best effort: the earlier error is the one that counts.
        let nothing = AlignedBuffer::new(sector);
        if let Err(error) = medium
            .write(&nothing, 0, progress)
            .and_then(|()| medium.flush())
        {
            log::warn!("taking the commit back: {error}");
        }
    }
    bootable
}

fn put_record(head: &mut [u8], record: &Record) {
    head[LENGTH - RECORD_LENGTH..].copy_from_slice(&record.to_bytes());
}

fn write_verified(
    medium: &Medium<'_>,
    data: &[u8],
    offset: u64,
    progress: &Progress<'_>,
) -> Result<(), FlashError> {
    let mut found = AlignedBuffer::new(data.len());
    for _ in 0..ATTEMPTS {
        medium.write(data, offset, progress)?;
        medium.flush()?;
        medium.read(&mut found, offset, progress)?;
        if *found == *data {
            return Ok(());
        }
    }
    Err(FlashError::ReadBack {
        target: medium.target.name().to_owned(),
        offset,
        attempts: ATTEMPTS,
        reason: "other bytes than were written".to_owned(),
    })
}

fn check_partitions(medium: &Medium<'_>, partitions: &[Partition]) -> Result<(), FlashError> {
    let target = medium.target;
    target.reread_partition_table().map_err(|error| {
        medium.failed(
            "having the kernel read the partition table of".to_owned(),
            error,
        )
    })?;
    let found = target
        .partition_table()
        .map_err(|error| medium.failed("reading the partition table of".to_owned(), error))?;
    let difference = match found {
        None => "there is none".to_owned(),
        Some(found) => match difference(partitions, &found) {
            None => return Ok(()),
            Some(difference) => difference,
        },
    };
    Err(FlashError::Partitions {
        target: target.name().to_owned(),
        difference,
    })
}

fn difference(wanted: &[Partition], found: &[Partition]) -> Option<String> {
    if wanted.len() != found.len() {
        return Some(format!("{} partitions, not {}", found.len(), wanted.len()));
    }
    let missing = wanted.iter().find(|partition| !found.contains(partition))?;
    Some(
        match found.iter().find(|other| other.number == missing.number) {
            None => format!("partition {} is missing", missing.number),
            Some(other) => format!("partition {} is {other:?}, not {missing:?}", missing.number),
        },
    )
}
