//! What the firmware reads, in the form that it can read.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use flate2::{Compression, GzBuilder};

use super::AssembleError;
use crate::tree::Content;

/// Firmware of a Pi 5 from before 2025-06-09 cannot read files of this size or more from NVMe.
pub const TOO_LARGE: u64 = 32 << 20;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The kernel as both firmwares take it: gzipped, with neither name nor time in it. One that is gzipped already stays
/// as it is.
pub fn gzip(kernel: &Content) -> Result<Vec<u8>, AssembleError> {
    let io = |source| AssembleError::BootPartition {
        path: "the kernel".into(),
        source,
    };
    let mut image = Vec::new();
    kernel.open()?.read_to_end(&mut image).map_err(io)?;
    let packed = if image.starts_with(&GZIP_MAGIC) {
        image
    } else {
        let mut encoder = GzBuilder::new().write(Vec::new(), Compression::new(9));
        encoder.write_all(&image).map_err(io)?;
        encoder.finish().map_err(io)?
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

/// Where mainline's device tree of the Pi 5 gives sizes in two cells, and what is there when they are one.
const SIZE_CELLS: [(&str, &str, &[&str]); 7] = [
    ("/", "#size-cells", &["1"]),
    ("/reserved-memory", "#size-cells", &["1"]),
    ("/memory@0", "reg", &["0", "0", "0x28000000"]),
    ("/hvs@107c580000", "reg", &["0x10", "0x7c580000", "0x1a000"]),
    ("/reserved-memory/atf@0", "reg", &["0", "0", "0x80000"]),
    ("/reserved-memory/linux,cma", "size", &["0x4000000"]),
    (
        "/reserved-memory/linux,cma",
        "alloc-ranges",
        &["0", "0", "0x40000000"],
    ),
];

/// A Pi 5 device tree with one cell for sizes at its root: firmware from before 2025-02-11 writes its own nodes wrongly
/// into a tree with two, and the board does not start.
pub fn one_size_cell(device_tree: &[u8]) -> Result<Vec<u8>, AssembleError> {
    let scratch = |source| AssembleError::Io {
        action: "edit a device tree in",
        path: std::env::temp_dir(),
        source,
    };
    let mut file = tempfile::NamedTempFile::new().map_err(scratch)?;
    file.write_all(device_tree).map_err(scratch)?;
    for (node, property, cells) in SIZE_CELLS {
        let output = Command::new("fdtput")
            .args(["-t", "x"])
            .arg(file.path())
            .args([node, property])
            .args(cells)
            .stdin(Stdio::null())
            .output()
            .map_err(|source| AssembleError::Start {
                program: "fdtput".into(),
                next: "apt-get install device-tree-compiler",
                source,
            })?;
        if !output.status.success() {
            return Err(AssembleError::Failed {
                program: "fdtput".into(),
                was: "gave the Pi's device tree one cell for sizes",
                status: output.status,
                said: format!(
                    "{node} {property}: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                ),
            });
        }
    }
    let edited: io::Result<Vec<u8>> = std::fs::read(file.path());
    edited.map_err(scratch)
}
