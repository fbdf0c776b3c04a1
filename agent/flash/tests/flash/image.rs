//! A small but real golden image: GPT, two partitions, data and holes, packed as `gild image pack` does.

use std::io::Cursor;

use gild_format::chunk::{is_zero, sha256};
use gild_format::manifest::{
    Chunk, FORMAT_VERSION, Manifest, Partition, Sha256Hex, manifest_sha256,
};
use gild_source::{Source, SourceError};
use gptman::{GPT, GPTPartitionEntry};

/// An image in every form the tests need.
#[derive(Clone)]
pub struct Image {
    pub manifest: Manifest,
    pub manifest_sha256: Sha256Hex,
    pub stored: Vec<u8>,
    pub raw: Vec<u8>,
}

/// What to make.
#[derive(Clone, Copy)]
pub struct Shape {
    pub id: &'static str,
    pub raw_size: usize,
    pub chunk_size: u32,
    pub sector_size: u32,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            id: "test-1",
            raw_size: 4 << 20,
            chunk_size: 256 << 10,
            sector_size: 512,
        }
    }
}

impl Image {
    pub fn new(shape: Shape) -> Self {
        Self::probed(shape, crate::disk::partition_table)
    }

    /// The same, but `probe` gives libblkid's view of the raw image.
    pub fn probed(
        shape: Shape,
        probe: impl FnOnce(&[u8]) -> std::io::Result<Option<Vec<Partition>>>,
    ) -> Self {
        let raw = raw_image(shape);
        let partitions = probe(&raw)
            .expect("libblkid reads the image")
            .expect("the image has a partition table");
        let mut stored = Vec::new();
        let mut chunks = Vec::new();
        for (index, bytes) in raw.chunks(shape.chunk_size as usize).enumerate() {
            let frame = zstd::bulk::compress(bytes, 1).expect("zstd compresses");
            chunks.push(Chunk {
                raw_offset: index as u64 * u64::from(shape.chunk_size),
                raw_length: u32::try_from(bytes.len()).expect("a chunk is short"),
                stored_offset: stored.len() as u64,
                stored_length: u32::try_from(frame.len()).expect("a chunk is short"),
                sha256: sha256(bytes),
                hole: is_zero(bytes),
            });
            stored.extend(frame);
        }
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            board: "rpi5".to_owned(),
            image_id: shape.id.to_owned(),
            build_time: 0,
            rollback_counter: 0,
            proves_itself: false,
            min_agent_version: "0.1.0".to_owned(),
            raw_size: raw.len() as u64,
            sector_size: shape.sector_size,
            chunk_size: shape.chunk_size,
            stored_file: format!("{}.img.zst", shape.id),
            stored_size: stored.len() as u64,
            stored_sha256: sha256(&stored),
            partitions,
            tools: std::collections::BTreeMap::new(),
            chunks,
        };
        let json = manifest.to_json();
        Self {
            manifest: Manifest::parse(&json).expect("the manifest is valid"),
            manifest_sha256: manifest_sha256(&json),
            stored,
            raw,
        }
    }

    pub fn data_chunks(&self) -> usize {
        self.manifest
            .chunks
            .iter()
            .filter(|chunk| !chunk.hole)
            .count()
    }

    /// Stored bytes of all data chunks.
    pub fn data_stored(&self) -> u64 {
        let data = self.manifest.chunks.iter().filter(|chunk| !chunk.hole);
        data.map(|chunk| u64::from(chunk.stored_length)).sum()
    }

    /// Raw bytes of all data chunks.
    pub fn data_raw(&self) -> u64 {
        let data = self.manifest.chunks.iter().filter(|chunk| !chunk.hole);
        data.map(|chunk| u64::from(chunk.raw_length)).sum()
    }
}

/// Data at the start, in the middle and at the end; holes between, one of them inside the first partition.
fn raw_image(shape: Shape) -> Vec<u8> {
    let mut disk = Cursor::new(vec![0; shape.raw_size]);
    let sector = u64::from(shape.sector_size);
    let seed = shape
        .id
        .bytes()
        .fold(7, |sum: u64, byte| sum * 31 + u64::from(byte));
    let guid = |salt: u64| {
        let mut guid = [0; 16];
        guid[..8].copy_from_slice(&(seed ^ salt).to_le_bytes());
        guid
    };
    let mut gpt = GPT::new_from(&mut disk, sector, guid(1)).expect("a GPT fits");
    let (first, last) = ((1 << 20) / sector, gpt.header.last_usable_lba);
    let middle = first + (last - first) / 2;
    for (number, start, end) in [(1, first, middle - 1), (2, middle, last)] {
        gpt[number] = GPTPartitionEntry {
            partition_type_guid: guid(2),
            unique_partition_guid: guid(2 + u64::from(number)),
            starting_lba: start,
            ending_lba: end,
            attribute_bits: 0,
            partition_name: format!("part{number}").as_str().into(),
        };
    }
    gpt.write_into(&mut disk).expect("a GPT fits");
    GPT::write_protective_mbr_into(&mut disk, sector).expect("an MBR fits");
    let mut raw = disk.into_inner();
    let size = raw.len();
    let mut noise = Noise(seed);
    noise.fill(&mut raw[64 << 10..100 << 10]);
    noise.fill(&mut raw[1 << 20..(1 << 20) + size / 8]);
    noise.fill(&mut raw[size / 2..size / 2 + size / 10]);
    noise.fill(&mut raw[size - size / 8..size - (64 << 10)]);
    raw
}

/// Bytes that hardly compress. The same seed gives the same bytes.
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            let noise = self.next().to_le_bytes();
            part.copy_from_slice(&noise[..part.len()]);
        }
    }
}

/// The stored file in memory. The first reads of a chunk may flip a bit.
pub struct MemorySource {
    pub bytes: Vec<u8>,
    flip: Option<(u64, std::sync::atomic::AtomicU32)>,
}

impl MemorySource {
    pub fn new(image: &Image) -> Self {
        Self {
            bytes: image.stored.clone(),
            flip: None,
        }
    }

    /// Flips a bit in the next `times` reads that cover this byte.
    pub fn flipping(image: &Image, byte: u64, times: u32) -> Self {
        Self {
            flip: Some((byte, times.into())),
            ..Self::new(image)
        }
    }
}

impl Source for MemorySource {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), SourceError> {
        use std::sync::atomic::Ordering::SeqCst;
        let start = usize::try_from(offset).expect("a test image is small");
        buffer.copy_from_slice(&self.bytes[start..start + buffer.len()]);
        if let Some((byte, times)) = &self.flip
            && (offset..offset + buffer.len() as u64).contains(byte)
            && times
                .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
                .is_ok()
        {
            buffer[usize::try_from(byte - offset).expect("a test image is small")] ^= 1;
        }
        Ok(())
    }
}
