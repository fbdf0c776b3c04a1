//! Reads firmware files whole, and writes them by renaming a finished file.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use gild_whole_file::{Finished, Unnamed, sync_folder_of};

use crate::input::must_be_file;
use crate::output;

/// More than any firmware file has; a disk image was named by mistake.
const LIMIT: u64 = 128 << 20;

/// Reads a firmware file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let context = || format!("cannot read {}", path.display());
    must_be_file(
        path,
        "the file",
        "give a file that is there; docs/card.md says where firmware comes from",
    )?;
    let metadata = fs::metadata(path).with_context(context)?;
    ensure!(
        metadata.is_file(),
        "{} is not a file; next: copy its content into a file first",
        path.display()
    );
    ensure!(
        metadata.len() <= LIMIT,
        "{} has {} bytes: too large for a firmware file",
        path.display(),
        metadata.len()
    );
    fs::read(path).with_context(context)
}

/// Files to be written. None of them may be an input.
pub struct Output {
    path: PathBuf,
    file: Finished,
}

impl Output {
    /// Writes the bytes beside the place where they will go.
    pub fn stage(path: &Path, bytes: &[u8], inputs: &[&Path]) -> Result<Self> {
        let path = output::place(path, inputs)?;
        let context = || format!("cannot write {}", path.display());
        let mut file = Unnamed::beside(&path).with_context(context)?;
        file.file().write_all(bytes).with_context(context)?;
        let file = file.finish().with_context(context)?;
        Ok(Self { path, file })
    }

    /// Renames the whole file to its name.
    pub fn put(self) -> Result<()> {
        self.file
            .put(&self.path)
            .and_then(|()| sync_folder_of(&self.path))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}
