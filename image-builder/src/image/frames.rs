//! The stored image: one zstd frame per chunk, then the table that makes it a zstd seekable file.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use gild_format::manifest::DEFAULT_CHUNK_SIZE;
use gild_format::{Chunk, Sha256Hex, chunk};
use sha2::{Digest, Sha256};
use zeekstd::SeekTable;
use zstd::bulk::Compressor;

use super::disk::DiskImage;
use crate::parallel;
use crate::progress::Progress;

/// What was stored.
pub struct Stored {
    /// All chunks in order.
    pub chunks: Vec<Chunk>,
    /// Bytes written.
    pub size: u64,
    /// SHA-256 of the bytes written.
    pub sha256: Sha256Hex,
}

#[derive(Clone)]
struct Frame {
    bytes: Vec<u8>,
    raw_length: u32,
    sha256: Sha256Hex,
    hole: bool,
}

/// Compresses the image on all cores and writes the stored image, which is in this folder.
pub fn write(
    image: &DiskImage,
    level: i32,
    mut output: impl Write,
    folder: &Path,
) -> Result<Stored> {
    let chunk_size = u64::from(DEFAULT_CHUNK_SIZE);
    let count = usize::try_from(image.size().div_ceil(chunk_size))?;
    let worker = || {
        let mut packer = Packer::new(level)?;
        Ok(move |index: usize| {
            let offset = index as u64 * chunk_size;
            packer.pack(image, offset, chunk_size.min(image.size() - offset))
        })
    };
    let mut hasher = Sha256::new();
    let mut put = |bytes: &[u8]| {
        hasher.update(bytes);
        output
            .write_all(bytes)
            .with_context(|| format!("cannot write the stored image to {}", folder.display()))
    };
    let mut table = SeekTable::new();
    let mut chunks: Vec<Chunk> = Vec::with_capacity(count);
    let (mut raw_offset, mut size) = (0, 0);
    let mut progress = Progress::new("pack", image.size());
    parallel::in_order(count, worker, |frame: Frame| {
        let stored_length = u32::try_from(frame.bytes.len())?;
        put(&frame.bytes)?;
        table
            .log_frame(stored_length, frame.raw_length)
            .context("cannot make the seek table")?;
        chunks.push(Chunk {
            raw_offset,
            raw_length: frame.raw_length,
            stored_offset: size,
            stored_length,
            sha256: frame.sha256,
            hole: frame.hole,
        });
        raw_offset += u64::from(frame.raw_length);
        size += u64::from(stored_length);
        progress.add(frame.raw_length.into());
        Ok(())
    })?;
    let mut footer = Vec::new();
    table.into_serializer().read_to_end(&mut footer)?;
    put(&footer)?;
    size += footer.len() as u64;
    Ok(Stored {
        chunks,
        size,
        sha256: Sha256Hex(hasher.finalize().into()),
    })
}

/// One thread's compressor.
struct Packer {
    compressor: Compressor<'static>,
    raw: Vec<u8>,
    /// Frames of zeros by their length: holes are many and all alike.
    holes: HashMap<u32, Frame>,
}

impl Packer {
    fn new(level: i32) -> Result<Self> {
        let mut compressor = Compressor::new(level).context("no memory for a zstd compressor")?;
        compressor.include_checksum(true)?;
        Ok(Self {
            compressor,
            raw: Vec::new(),
            holes: HashMap::new(),
        })
    }

    fn pack(&mut self, image: &DiskImage, offset: u64, length: u64) -> Result<Frame> {
        let raw_length = u32::try_from(length)?;
        self.raw.resize(usize::try_from(length)?, 0);
        let mut hole = image.is_sparse(offset, length)?;
        if !hole {
            image.read(offset, &mut self.raw)?;
            hole = chunk::is_zero(&self.raw);
        }
        if !hole {
            return self.frame(raw_length, false);
        }
        if !self.holes.contains_key(&raw_length) {
            self.raw.fill(0);
            let frame = self.frame(raw_length, true)?;
            self.holes.insert(raw_length, frame);
        }
        Ok(self.holes[&raw_length].clone())
    }

    fn frame(&mut self, raw_length: u32, hole: bool) -> Result<Frame> {
        let bytes = self
            .compressor
            .compress(&self.raw)
            .context("zstd cannot compress")?;
        Ok(Frame {
            bytes,
            raw_length,
            sha256: chunk::sha256(&self.raw),
            hole,
        })
    }
}
