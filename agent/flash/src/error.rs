//! Why a flash failed: what was being done, to which device, and what to do next.

use std::io;

use gild_faults::{Fault, HasFault};

use gild_source::SourceError;

/// Why a flash failed. The target never looks committed afterwards.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// No memory, or no threads.
    #[error("starting the workers of the flash failed: {0}")]
    Workers(String),
    /// The target cannot take this image. Nothing was written.
    #[error("{target} cannot take the image: {reason}; nothing was written")]
    Unsuitable {
        /// Device.
        target: String,
        /// Why.
        reason: String,
    },
    /// The source gave up.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The stored file is not the one of the manifest.
    #[error(
        "the image file has {found} bytes, its manifest says {expected}; next: publish the image again"
    )]
    SourceSize {
        /// Bytes the file has.
        found: u64,
        /// Bytes the manifest says.
        expected: u64,
    },
    /// A chunk was damaged at every attempt.
    #[error(
        "chunk {chunk} of the image came damaged {attempts} times: {reason}; next: check it with `gild image verify`, and publish it again"
    )]
    ChunkDamaged {
        /// Index in the manifest.
        chunk: usize,
        /// How often it was fetched.
        attempts: u32,
        /// What the decoder said.
        reason: String,
    },
    /// The target failed an operation.
    #[error("{action} {target} failed: {error}; next: {}", remedy(error))]
    Target {
        /// What was being done.
        action: String,
        /// Device.
        target: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// A range reads back wrong, however often it is written.
    #[error(
        "{target} does not give back what was written at {offset} ({attempts} attempts): {reason}; next: replace the disk"
    )]
    ReadBack {
        /// Device.
        target: String,
        /// First byte of the range.
        offset: u64,
        /// How often it was written.
        attempts: u32,
        /// What came back.
        reason: String,
    },
    /// After the commit the partitions are not those of the manifest. The commit was taken back.
    #[error(
        "the partition table on {target} is not the manifest's: {difference}; next: publish the image again"
    )]
    Partitions {
        /// Device.
        target: String,
        /// What differs.
        difference: String,
    },
}

/// What helps against an error of the target. The cause is not always the disk.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on the file system that holds it"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "remove the write protection: a switch on the medium, or a read-only setting (`lsblk` shows RO)"
        }
        _ => "check the disk's seat and power, else replace it",
    }
}

impl HasFault for FlashError {
    fn fault(&self) -> Fault {
        match self {
            Self::Workers(_) => Fault::Internal,
            Self::Unsuitable { .. } => Fault::NoTarget,
            Self::Source(error) => error.fault(),
            Self::SourceSize { .. } | Self::ChunkDamaged { .. } | Self::Partitions { .. } => {
                Fault::ImageCorrupt
            }
            Self::Target { .. } | Self::ReadBack { .. } => Fault::TargetFailed,
        }
    }
}
