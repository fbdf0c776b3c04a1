//! What the kernel on the boot partition says about itself.

use std::io::{self, Read};
use std::sync::LazyLock;

use flate2::read::MultiGzDecoder;
use regex::bytes::Regex;

/// Longer kernels than this exist nowhere; the bound keeps a wrong file from filling the memory.
const MAX_KERNEL: u64 = 256 << 20;

static BANNER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"Linux version ([0-9]+\.[0-9][A-Za-z0-9.+~_-]*) ").expect("a constant pattern")
});

/// A kernel image for arm64.
#[derive(Debug, PartialEq, Eq)]
pub struct Kernel {
    /// As in /lib/modules.
    pub version: Option<String>,
    /// Bytes in a page; `None` if the header does not say.
    pub page_size: Option<u32>,
}

/// Reads a kernel, gzipped or plain; `None` if it is not an arm64 `Image`.
pub fn read(mut file: impl Read) -> io::Result<Option<Kernel>> {
    let mut magic = [0; 2];
    file.read_exact(&mut magic)?;
    let file = magic.chain(file);
    let mut image = Vec::new();
    if magic == [0x1f, 0x8b] {
        MultiGzDecoder::new(file)
            .take(MAX_KERNEL)
            .read_to_end(&mut image)?;
    } else {
        file.take(MAX_KERNEL).read_to_end(&mut image)?;
    }
    // Documentation/arch/arm64/booting.rst: flags at 24, magic at 56.
    if image.get(56..60) != Some(b"ARM\x64") {
        return Ok(None);
    }
    let page_size = match image[24] >> 1 & 3 {
        1 => Some(4096),
        2 => Some(16384),
        3 => Some(65536),
        _ => None,
    };
    let version = BANNER
        .captures(&image)
        .map(|found| String::from_utf8_lossy(&found[1]).into_owned());
    Ok(Some(Kernel { version, page_size }))
}
