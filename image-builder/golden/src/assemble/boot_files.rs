//! What the firmware reads, in the form that it can read.

use std::io::{self, Read};

use gild_card::kernel;

use super::AssembleError;
use crate::tree::Content;

/// Firmware of a Pi 5 from before 2025-06-09 cannot read files of this size or more from NVMe.
pub const TOO_LARGE: u64 = 32 << 20;

/// The kernel as both firmwares take it: gzipped, with neither name nor time in it. A kernel that is already gzipped stays
/// as it is.
pub fn gzip(content: &Content) -> Result<Vec<u8>, AssembleError> {
    let io_error = |source| AssembleError::BootPartition {
        path: "the kernel".into(),
        source,
    };
    let mut image = Vec::new();
    content.open()?.read_to_end(&mut image).map_err(io_error)?;
    let packed = if kernel::is_packed(&image) {
        image
    } else {
        kernel::pack(&image).map_err(|error| io_error(io::Error::other(error)))?
    };
    let bytes = packed.len() as u64;
    if bytes >= TOO_LARGE {
        return Err(AssembleError::TooLarge {
            what: "the kernel",
            bytes,
        });
    }
    Ok(packed)
}
