//! The kernel, as the boards' firmware takes it: an arm64 `Image`, and that gzipped.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const MAGIC_AT: usize = 56;
const MAGIC: &[u8] = b"ARM\x64";
/// Where U-Boot loads it there is room for no more.
const LONGEST: usize = 128 << 20;

/// Why a file is not a kernel that the boards can start.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Another format.
    #[error("it is not an arm64 kernel Image (nothing says `ARM\\x64` at byte 56)")]
    NotAnImage,
    /// Too large.
    #[error("it has {0} bytes, and U-Boot has room for {LONGEST}")]
    TooLong(usize),
    /// Damaged.
    #[error("it cannot be decompressed: {0}")]
    Damaged(std::io::Error),
}

/// Checks that these bytes are an arm64 `Image`.
pub fn check(image: &[u8]) -> Result<(), KernelError> {
    if image.get(MAGIC_AT..MAGIC_AT + MAGIC.len()) != Some(MAGIC) {
        return Err(KernelError::NotAnImage);
    }
    if image.len() > LONGEST {
        return Err(KernelError::TooLong(image.len()));
    }
    Ok(())
}

/// Whether these bytes are in gzip's format.
#[must_use]
pub fn is_packed(file: &[u8]) -> bool {
    file.starts_with(&GZIP)
}

/// The kernel as it runs, whether the file is compressed or not.
pub fn image(file: Vec<u8>) -> Result<Vec<u8>, KernelError> {
    let image = if is_packed(&file) {
        unpack(&file)?
    } else {
        file
    };
    check(&image)?;
    Ok(image)
}

/// The kernel in gzip's format: the same kernel always gives the same bytes.
pub fn pack(image: &[u8]) -> Result<Vec<u8>, KernelError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder
        .write_all(image)
        .and_then(|()| encoder.finish())
        .map_err(KernelError::Damaged)
}

/// The kernel out of gzip's format.
pub fn unpack(file: &[u8]) -> Result<Vec<u8>, KernelError> {
    let mut image = Vec::new();
    let read = GzDecoder::new(file)
        .take(LONGEST as u64 + 1)
        .read_to_end(&mut image);
    read.map_err(KernelError::Damaged)?;
    Ok(image)
}
