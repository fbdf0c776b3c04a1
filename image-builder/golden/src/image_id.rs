//! The image's name: board and a digest of all that is in it, so that equal inputs have equal names.

use std::collections::BTreeMap;
use std::io::{self, Write};

use sha2::{Digest, Sha256};

use crate::tree::{Content, Tree, TreeError};

/// Hexadecimal digits of the digest that the name has.
const DIGITS: usize = 12;

/// The name of the image that this sealed tree and these boot files make.
pub fn compute(
    board: &str,
    tree: &Tree,
    boot: &BTreeMap<String, Content>,
    source_date: u64,
    sector_size: u32,
) -> Result<String, TreeError> {
    let mut hash = Hash(Sha256::new());
    tree.write_tar(&mut hash, source_date)?;
    for (path, content) in boot {
        // Lengths first, so that no two lists of files read the same.
        let length = content.length();
        hash.0.update(format!("{path}\0{length}\0"));
        let copied = io::copy(&mut content.open()?, &mut hash);
        copied.map_err(|source| TreeError::Io {
            action: "read the boot file",
            path: path.into(),
            source,
        })?;
    }
    // The usual size leaves no trace, so that images keep their names.
    if sector_size != 512 {
        hash.0.update(format!("sectors of {sector_size}\0"));
    }
    let digest = hex::encode(hash.0.finalize());
    Ok(format!("{board}-{}", &digest[..DIGITS]))
}

/// Writes the name into the image: os-release(5) and `/usr/lib/gild/image-release`.
pub fn stamp(tree: &mut Tree, board: &str, image_id: &str) -> Result<(), TreeError> {
    let version = image_id
        .strip_prefix(board)
        .map_or(image_id, |rest| rest.trim_start_matches('-'));
    let release = tree.read_text("etc/os-release")?;
    let id = format!("IMAGE_ID=gild-{board}");
    let version = format!("IMAGE_VERSION={version}");
    let lines: Vec<&str> = release
        .lines()
        .filter(|line| !line.starts_with("IMAGE_ID=") && !line.starts_with("IMAGE_VERSION="))
        .chain([id.as_str(), version.as_str(), ""])
        .collect();
    let release = lines.join("\n");
    tree.replace_content("etc/os-release", release)?;
    tree.insert_file(
        "usr/lib/gild/image-release",
        0o644,
        format!("GILD_BOARD={board}\nGILD_IMAGE_ID={image_id}\n"),
    )
}

struct Hash(Sha256);

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
