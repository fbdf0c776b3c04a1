//! The manifest: the signed JSON that describes one golden image, the only thing a node trusts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::sha256;
use crate::validate;

pub use crate::digest::{NotSha256, Sha256Hex};
pub use crate::image_id::MAX_IMAGE_ID;

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

/// Most partitions a manifest may list: what a GPT holds by default.
pub const MAX_PARTITIONS: usize = 128;
/// Most tools a manifest may list.
pub const MAX_TOOLS: usize = 64;
/// Longest of the other texts: board, partition names, tools.
pub const MAX_TEXT: usize = 128;
/// What follows the image id in the name of the stored image.
pub const STORED_SUFFIX: &str = ".img.zst";

/// Why a manifest was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More than [`MAX_MANIFEST_BYTES`].
    #[error("the manifest is {0} bytes long, the limit is {MAX_MANIFEST_BYTES}")]
    TooLarge(usize),
    /// Not JSON, or not the JSON of a manifest.
    #[error("the manifest cannot be read: {0}")]
    Syntax(String),
    /// Made by another, newer gild.
    #[error("format version {0} is not known here, only {FORMAT_VERSION} is; use a newer gild")]
    UnknownVersion(u64),
    /// Two statements of the manifest that cannot both be true, or a statement that is out of bounds.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field, e.g. `chunks[7].stored_offset`.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

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
    /// The image's first good start writes *proven* into the commit record. An image that does not do so counts as proven
    /// as soon as it is committed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proves_itself: bool,
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
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_PARTITIONS>")]
    pub partitions: Vec<Partition>,
    /// Name and version of each tool that built the image.
    #[serde(deserialize_with = "bounded::map::<_, MAX_TOOLS>")]
    pub tools: BTreeMap<String, String>,
    /// The chunks in order, holes included, covering the raw image without a gap.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_CHUNKS>")]
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

impl Manifest {
    /// Reads a manifest and checks every number against every other.
    ///
    /// The signature is checked before this, with [`crate::signature::verify`], over the same bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u64,
        }
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge(bytes.len()));
        }
        // The version first: what the other fields mean depends on it.
        let syntax = |error: serde_json::Error| ManifestError::Syntax(error.to_string());
        let version: Version = serde_json::from_slice(bytes).map_err(syntax)?;
        if version.format_version != u64::from(FORMAT_VERSION) {
            return Err(ManifestError::UnknownVersion(version.format_version));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(syntax)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// Checks every number against every other; [`Manifest::parse`] has done so already.
    pub fn validate(&self) -> Result<(), ManifestError> {
        validate::manifest(self)
    }

    /// Checks what is known before the image is stored: everything but its chunks.
    pub fn validate_all_but_chunks(&self) -> Result<(), ManifestError> {
        validate::all_but_chunks(self)
    }

    /// The manifest as it is published and signed.
    ///
    /// # Panics
    ///
    /// Never: all keys are strings and no value can fail to serialize.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec(self).expect("a manifest always serializes");
        json.push(b'\n');
        json
    }

    /// Whether an agent of this version (`major.minor.patch`) may write this image.
    #[must_use]
    pub fn accepts_agent(&self, agent_version: &str) -> bool {
        match (
            validate::version(agent_version),
            validate::version(&self.min_agent_version),
        ) {
            (Some(agent), Some(least)) => agent >= least,
            _ => false,
        }
    }

    /// Bytes a node fetches when nothing of the image is on its disk yet.
    #[must_use]
    pub fn data_stored_bytes(&self) -> u64 {
        self.chunks
            .iter()
            .filter(|chunk| !chunk.hole)
            .map(|chunk| u64::from(chunk.stored_length))
            .sum()
    }

    /// Raw bytes that are not in holes.
    #[must_use]
    pub fn data_raw_bytes(&self) -> u64 {
        self.chunks
            .iter()
            .filter(|chunk| !chunk.hole)
            .map(|chunk| u64::from(chunk.raw_length))
            .sum()
    }
}

/// SHA-256 of a manifest file, as the commit record holds it.
#[must_use]
pub fn manifest_sha256(bytes: &[u8]) -> Sha256Hex {
    sha256(bytes)
}

/// Lists that stop reading at their limit: a list of millions of tiny entries would take many times the memory of
/// its text.
mod bounded {
    use std::collections::BTreeMap;
    use std::fmt;
    use std::marker::PhantomData;

    use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

    pub fn list<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: Deserialize<'de>,
    {
        struct List<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
            type Value = Vec<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX} entries")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = seq.next_element()? {
                    if entries.len() == MAX {
                        return Err(A::Error::invalid_length(MAX + 1, &self));
                    }
                    entries.push(entry);
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_seq(List::<T, MAX>(PhantomData))
    }

    pub fn map<'de, D, const MAX: usize>(
        deserializer: D,
    ) -> Result<BTreeMap<String, String>, D::Error>
    where
        D: Deserializer<'de>,
    {
        struct Map<const MAX: usize>;
        impl<'de, const MAX: usize> Visitor<'de> for Map<MAX> {
            type Value = BTreeMap<String, String>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a map of at most {MAX} texts")
            }
            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<BTreeMap<String, String>, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((key, value)) = map.next_entry()? {
                    if entries.len() == MAX {
                        return Err(A::Error::invalid_length(MAX + 1, &self));
                    }
                    entries.insert(key, value);
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Map::<MAX>)
    }
}
