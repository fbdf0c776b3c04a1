//! What is written: a loop device as root, otherwise a file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gild_tests::command::{command, run};
use gild_tests::workspace;

const BLOCK: usize = 4 << 20;

/// A target, gone when dropped.
pub struct Target {
    file: PathBuf,
    device: Option<String>,
    size: u64,
}

impl Target {
    /// A target of this size.
    pub fn new(size: u64) -> Result<Self> {
        let file = workspace::fresh("bench")?.join("target.img");
        File::create(&file)?.set_len(size)?;
        let looped = run(command("losetup")
            .args(["--find", "--show", "--direct-io=on"])
            .arg(&file));
        let device = match looped {
            Ok(output) => Some(String::from_utf8(output)?.trim().to_owned()),
            Err(error) => {
                eprintln!("onto a file, for want of a loop device: {error:#}");
                None
            }
        };
        Ok(Self { file, device, size })
    }

    /// The path to write to.
    pub fn path(&self) -> &Path {
        self.device.as_ref().map_or(&self.file, Path::new)
    }

    /// A directory for scratch files.
    pub fn scratch(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("."))
    }

    /// Whether it is a block device.
    pub fn is_device(&self) -> bool {
        self.device.is_some()
    }

    /// Overwrites every byte with other data, so that all of it is allocated and on the disk. No method then profits from space or zeros
    /// that another has left.
    pub fn reset(&self) -> Result<()> {
        let block: Vec<u8> = (0..BLOCK)
            .map(|index| u8::try_from(index % 251).unwrap_or(1) | 1)
            .collect();
        let target = File::options()
            .write(true)
            .open(self.path())
            .context("opening the target")?;
        let mut offset = 0;
        while offset < self.size {
            target
                .write_all_at(&block, offset)
                .context("filling the target")?;
            offset += BLOCK as u64;
        }
        target.sync_all().context("filling the target")?;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(device) = &self.device
            && let Err(error) = run(command("losetup").args(["--detach", device]))
        {
            eprintln!("{error:#}");
        }
        if let Err(error) = std::fs::remove_file(&self.file) {
            eprintln!("removing {}: {error}", self.file.display());
        }
    }
}
