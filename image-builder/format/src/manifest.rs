//! The manifest: the signed JSON that describes one golden image, the only thing a node trusts.

use serde::{Deserialize, Serialize};

/// The only format version this crate reads and writes. Unknown fields are ignored, an unknown version is refused.
pub const FORMAT_VERSION: u32 = 1;
/// Raw bytes per chunk that `gild image pack` uses.
pub const DEFAULT_CHUNK_SIZE: u32 = 4 << 20;
/// Largest chunk a manifest may ask for: it bounds the memory of one worker.
pub const MAX_CHUNK_SIZE: u32 = 16 << 20;
/// Most chunks a manifest may list.
pub const MAX_CHUNKS: usize = 262_144;
/// Largest manifest file a reader accepts, in bytes.
pub const MAX_MANIFEST_BYTES: usize = 64 << 20;

/// One golden image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Board name, `rpi5` or `rock5b`.
    pub board: String,
    /// Names this image among all images of the board; also the stem of its file names.
    pub image_id: String,
    /// Build time, seconds since 1970-01-01 UTC.
    pub build_time: u64,
    /// A node refuses an image whose counter is below the least its configuration accepts.
    pub rollback_counter: u64,
    /// Least agent version that may write this image, `major.minor.patch`.
    pub min_agent_version: String,
    /// Raw size of the disk image in bytes, a multiple of `sector_size`.
    pub raw_size: u64,
    /// Logical sector size the partition table was made for: 512 or 4096 bytes.
    pub sector_size: u32,
    /// Raw bytes per chunk; only the last chunk may be shorter.
    pub chunk_size: u32,
    /// File name of the stored image, beside the manifest: `<image-id>.img.zst`.
    pub stored_file: String,
    /// Size of the stored file in bytes.
    pub stored_size: u64,
    /// SHA-256 of the whole stored file, lower-case hex.
    pub stored_sha256: Sha256Hex,
    /// The partitions of the image, as libblkid reports them.
    pub partitions: Vec<Partition>,
    /// Name and version of each tool that built the image.
    pub tools: std::collections::BTreeMap<String, String>,
    /// The chunks in order, holes included, covering the raw image without a gap.
    pub chunks: Vec<Chunk>,
}

/// A fixed-size range of the image, stored as one independent zstd frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Offset in the raw image, bytes.
    pub raw_offset: u64,
    /// Length in the raw image, bytes.
    pub raw_length: u32,
    /// Offset of the zstd frame in the stored file, bytes.
    pub stored_offset: u64,
    /// Length of the zstd frame, bytes.
    pub stored_length: u32,
    /// SHA-256 of the raw bytes.
    pub sha256: Sha256Hex,
    /// A hole: all raw bytes are zero. Never fetched, made to read as zero on the target.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hole: bool,
}

/// One partition of the image. Sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Partition number, from 1.
    pub number: u32,
    /// Offset of its first byte.
    pub start: u64,
    /// Length.
    pub length: u64,
    /// Type: GPT type GUID in lower case, or MBR type as `0x..`.
    pub kind: String,
    /// PARTUUID, lower case; empty if it has none.
    #[serde(default)]
    pub uuid: String,
    /// PARTLABEL; empty if it has none.
    #[serde(default)]
    pub name: String,
}

/// A SHA-256, 64 lower-case hex digits in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256Hex(pub [u8; 32]);
