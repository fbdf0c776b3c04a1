//! The checks that make a manifest trustworthy in itself, before one byte of the target is touched.

use std::fmt::Display;

use sha2::{Digest, Sha256};

use crate::digest::Sha256Hex;
use crate::image_id::{ImageId, name};
use crate::manifest::{
    FORMAT_VERSION, MAX_CHUNK_SIZE, MAX_CHUNKS, MAX_PARTITIONS, MAX_TEXT, MAX_TOOLS, Manifest,
    ManifestError, Partition, STORED_SUFFIX,
};
use crate::record::FIRST_MIB;

/// Chunks begin and end on this boundary, so that every write is aligned for every disk.
const CHUNK_ALIGNMENT: u32 = 4096;

/// MBR types of an extended partition: a container that the logical partitions lie in.
const EXTENDED: [u64; 3] = [0x05, 0x0f, 0x85];

fn invalid(field: impl Into<String>, reason: impl Display) -> ManifestError {
    ManifestError::Invalid {
        field: field.into(),
        reason: reason.to_string(),
    }
}

fn check(holds: bool, field: &str, reason: impl Display) -> Result<(), ManifestError> {
    if holds {
        Ok(())
    } else {
        Err(invalid(field, reason))
    }
}

pub fn manifest(manifest: &Manifest) -> Result<(), ManifestError> {
    all_but_chunks(manifest)?;
    chunks(manifest)
}

pub fn all_but_chunks(manifest: &Manifest) -> Result<(), ManifestError> {
    if manifest.format_version != FORMAT_VERSION {
        return Err(ManifestError::UnknownVersion(
            manifest.format_version.into(),
        ));
    }
    names(manifest)?;
    sizes(manifest)?;
    partitions(manifest)
}

/// `major.minor.patch` as something that can be compared.
#[must_use]
pub fn version(text: &str) -> Option<[u32; 3]> {
    let mut parts = text.split('.').map(|part| {
        // `u32::from_str` would take a plus sign.
        part.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| part.parse().ok())
            .flatten()
    });
    let version = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(version)
}

fn names(manifest: &Manifest) -> Result<(), ManifestError> {
    let board = &manifest.board;
    name(board, MAX_TEXT).map_err(|error| invalid("board", error))?;
    ImageId::parse(&manifest.image_id).map_err(|error| invalid("image_id", error))?;
    check(
        manifest.stored_file.strip_suffix(STORED_SUFFIX) == Some(manifest.image_id.as_str()),
        "stored_file",
        format_args!("is not {}{STORED_SUFFIX}", manifest.image_id),
    )?;
    check(
        version(&manifest.min_agent_version).is_some(),
        "min_agent_version",
        "is not of the form major.minor.patch",
    )?;
    check(
        manifest.tools.len() <= MAX_TOOLS,
        "tools",
        format_args!("more than {MAX_TOOLS}"),
    )?;
    for (tool, version) in &manifest.tools {
        text("tools", tool)?;
        text("tools", version)?;
    }
    Ok(())
}

/// Texts of others end on a console: short, and no control characters.
fn text(field: &str, text: &str) -> Result<(), ManifestError> {
    check(
        text.len() <= MAX_TEXT,
        field,
        format_args!("a text is longer than {MAX_TEXT} bytes"),
    )?;
    check(
        !text.chars().any(char::is_control),
        field,
        format_args!("{text:?} has a control character"),
    )
}

fn sizes(manifest: &Manifest) -> Result<(), ManifestError> {
    check(
        matches!(manifest.sector_size, 512 | 4096),
        "sector_size",
        format_args!("{} is neither 512 nor 4096", manifest.sector_size),
    )?;
    check(
        manifest.chunk_size.is_power_of_two()
            && manifest.chunk_size >= CHUNK_ALIGNMENT
            && manifest.chunk_size <= MAX_CHUNK_SIZE,
        "chunk_size",
        format_args!(
            "{} is not a power of two from {CHUNK_ALIGNMENT} to {MAX_CHUNK_SIZE}",
            manifest.chunk_size
        ),
    )?;
    check(
        manifest.raw_size > FIRST_MIB,
        "raw_size",
        format_args!("{} leaves nothing after the first MiB", manifest.raw_size),
    )?;
    check(
        manifest
            .raw_size
            .is_multiple_of(manifest.sector_size.into()),
        "raw_size",
        format_args!(
            "{} is not a multiple of the sector size {}",
            manifest.raw_size, manifest.sector_size
        ),
    )?;
    let count = chunk_count(manifest);
    check(
        count <= MAX_CHUNKS as u64,
        "raw_size",
        format_args!("needs {count} chunks, the limit is {MAX_CHUNKS}"),
    )
}

fn chunk_count(manifest: &Manifest) -> u64 {
    manifest.raw_size.div_ceil(manifest.chunk_size.into())
}

fn chunks(manifest: &Manifest) -> Result<(), ManifestError> {
    let count = chunk_count(manifest);
    check(
        manifest.chunks.len() as u64 == count,
        "chunks",
        format_args!(
            "{} are listed, {} bytes in chunks of {} are {count}",
            manifest.chunks.len(),
            manifest.raw_size,
            manifest.chunk_size
        ),
    )?;
    let mut zeros = ZeroDigests::default();
    let mut raw_end = 0;
    let mut stored_end = 0;
    for (index, chunk) in manifest.chunks.iter().enumerate() {
        let refuse = |field: &str, reason: &dyn Display| {
            Err(invalid(format!("chunks[{index}].{field}"), reason))
        };
        if chunk.raw_offset != raw_end {
            return refuse(
                "raw_offset",
                &format_args!(
                    "is {}, the chunk before ends at {raw_end}",
                    chunk.raw_offset
                ),
            );
        }
        let raw_length = (manifest.raw_size - raw_end).min(manifest.chunk_size.into());
        if u64::from(chunk.raw_length) != raw_length {
            return refuse(
                "raw_length",
                &format_args!("is {}, it must be {raw_length}", chunk.raw_length),
            );
        }
        raw_end += raw_length;
        if chunk.stored_offset < stored_end {
            return refuse(
                "stored_offset",
                &format_args!(
                    "is {}, the frame before ends at {stored_end}",
                    chunk.stored_offset
                ),
            );
        }
        let bound = zstd::zstd_safe::compress_bound(chunk.raw_length as usize) as u64;
        if chunk.stored_length == 0 || u64::from(chunk.stored_length) > bound {
            return refuse(
                "stored_length",
                &format_args!(
                    "is {}, a frame of {} bytes takes 1 to {bound}",
                    chunk.stored_length, chunk.raw_length
                ),
            );
        }
        match chunk.stored_offset.checked_add(chunk.stored_length.into()) {
            Some(end) if end <= manifest.stored_size => stored_end = end,
            _ => {
                return refuse(
                    "stored_offset",
                    &format_args!(
                        "the frame ends behind the stored file of {} bytes",
                        manifest.stored_size
                    ),
                );
            }
        }
        // A node makes a hole read zero without asking for its bytes: they had better be zero.
        if chunk.hole && chunk.sha256 != zeros.of(chunk.raw_length) {
            return refuse(
                "sha256",
                &"is not the digest of zeros, but the chunk is marked as a hole",
            );
        }
    }
    Ok(())
}

/// SHA-256 of so many zeros. A valid manifest has two lengths at most: the chunk size and the last chunk's.
#[derive(Default)]
struct ZeroDigests(Vec<(u32, Sha256Hex)>);

impl ZeroDigests {
    fn of(&mut self, length: u32) -> Sha256Hex {
        if let Some((_, digest)) = self.0.iter().find(|(known, _)| *known == length) {
            return *digest;
        }
        let block = [0; 4096];
        let mut hasher = Sha256::new();
        let mut left = length as usize;
        while left > 0 {
            let part = left.min(block.len());
            hasher.update(&block[..part]);
            left -= part;
        }
        let digest = Sha256Hex(hasher.finalize().into());
        self.0.push((length, digest));
        digest
    }
}

fn partitions(manifest: &Manifest) -> Result<(), ManifestError> {
    let sector = u64::from(manifest.sector_size);
    check(
        !manifest.partitions.is_empty(),
        "partitions",
        "there is none, so nothing could boot",
    )?;
    check(
        manifest.partitions.len() <= MAX_PARTITIONS,
        "partitions",
        format_args!("more than {MAX_PARTITIONS} are listed"),
    )?;
    for (index, partition) in manifest.partitions.iter().enumerate() {
        let field = format!("partitions[{index}]");
        for value in [&partition.kind, &partition.uuid, &partition.name] {
            text(&field, value)?;
        }
        check(partition.number > 0, &field, "numbers start at 1")?;
        check(
            manifest.partitions[..index]
                .iter()
                .all(|other| other.number != partition.number),
            &field,
            format_args!("number {} is listed twice", partition.number),
        )?;
        check(
            partition.start.is_multiple_of(sector) && partition.length.is_multiple_of(sector),
            &field,
            format_args!("does not start and end on a sector of {sector} bytes"),
        )?;
        check(
            partition.start >= FIRST_MIB,
            &field,
            format_args!("starts at {}, inside the first MiB", partition.start),
        )?;
        check(
            partition.length > 0
                && partition
                    .start
                    .checked_add(partition.length)
                    .is_some_and(|end| end <= manifest.raw_size),
            &field,
            format_args!(
                "{} bytes at {} do not lie in the image of {} bytes",
                partition.length, partition.start, manifest.raw_size
            ),
        )?;
    }
    let mut in_order: Vec<&Partition> = manifest
        .partitions
        .iter()
        .filter(|partition| !is_extended(partition))
        .collect();
    in_order.sort_by_key(|partition| partition.start);
    for pair in in_order.windows(2) {
        check(
            pair[0].start + pair[0].length <= pair[1].start,
            "partitions",
            format_args!("{} and {} overlap", pair[0].number, pair[1].number),
        )?;
    }
    Ok(())
}

fn is_extended(partition: &Partition) -> bool {
    let kind = partition
        .kind
        .strip_prefix("0x")
        .and_then(|digits| u64::from_str_radix(digits, 16).ok());
    kind.is_some_and(|kind| EXTENDED.contains(&kind))
}
