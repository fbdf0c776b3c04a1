//! The flasher card as the board sees it: an MBR disk with one FAT32 partition labelled `GILD`.
//!
//! It carries the configuration only. The kernel and the agent that a real card also holds are handed to the virtual
//! board by QEMU, in the place of the board's firmware.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{command, run, run_with_text};
use crate::disk;

const SIZE: u64 = 64 << 20;
const PARTITION_OFFSET: u64 = 1 << 20;

/// A card image in a file.
#[derive(Clone, Debug)]
pub struct Card {
    image: PathBuf,
}

impl Card {
    /// Makes a card; without a configuration it holds no `gild.toml`.
    pub fn make(image: &Path, configuration: Option<&str>) -> Result<Self> {
        disk::blank(image, SIZE)?;
        run_with_text(
            command("sfdisk").arg("--quiet").arg(image),
            "label: dos\nstart=2048, type=c, bootable\n",
        )?;
        let sectors = (PARTITION_OFFSET / 512).to_string();
        let kibibytes = ((SIZE - PARTITION_OFFSET) / 1024).to_string();
        run(command("mkfs.vfat")
            .args(["-F", "32", "-s", "1", "-n", "GILD", "--offset", &sectors])
            .arg(image)
            .arg(kibibytes))?;
        let card = Self {
            image: image.to_path_buf(),
        };
        if let Some(text) = configuration {
            card.write("gild.toml", text)?;
        }
        Ok(card)
    }

    /// The image file.
    #[must_use]
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// Writes a text file in the root directory, over an earlier one.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        run_with_text(
            command("mcopy")
                .arg("-o")
                .arg("-i")
                .arg(self.drive())
                .arg("-")
                .arg(format!("::{name}")),
            text,
        )?;
        Ok(())
    }

    /// Writes a file of any kind, over an earlier one. Its folders are made as needed.
    pub fn put(&self, path: &str, content: &[u8]) -> Result<()> {
        for (end, _) in path.match_indices('/') {
            let folder = format!("::{}", &path[..end]);
            // It may be there already; one that cannot be made is missed by the next command.
            let _ = run(command("mmd").arg("-i").arg(self.drive()).arg(folder));
        }
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(content)?;
        run(command("mcopy")
            .arg("-o")
            .arg("-i")
            .arg(self.drive())
            .arg(file.path())
            .arg(format!("::{path}")))?;
        Ok(())
    }

    /// Reads a file of any kind from the root directory, if it is there.
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        if !self.names()?.iter().any(|found| found == name) {
            return Ok(None);
        }
        let content = run(command("mcopy")
            .arg("-i")
            .arg(self.drive())
            .arg(format!("::{name}"))
            .arg("-"))?;
        Ok(Some(content))
    }

    /// Gives a file in the root directory another name.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        let names = [format!("::{from}"), format!("::{to}")];
        run(command("mren").arg("-i").arg(self.drive()).args(names))?;
        Ok(())
    }

    /// Removes a file from the root directory.
    pub fn remove(&self, name: &str) -> Result<()> {
        run(command("mdel")
            .arg("-i")
            .arg(self.drive())
            .arg(format!("::{name}")))?;
        Ok(())
    }

    /// Fills the card to its last cluster.
    pub fn fill(&self) -> Result<()> {
        for power in (9..=SIZE.ilog2()).rev() {
            let filler = tempfile::NamedTempFile::new()?;
            filler.as_file().set_len(1 << power)?;
            // What is too large for the rest is refused whole; a smaller one may fit.
            let _ = run(command("mcopy")
                .arg("-i")
                .arg(self.drive())
                .arg(filler.path())
                .arg(format!("::FILL{power}")));
        }
        Ok(())
    }

    /// Reads a text file from the root directory.
    pub fn read(&self, name: &str) -> Result<String> {
        let bytes = run(command("mcopy")
            .arg("-i")
            .arg(self.drive())
            .arg(format!("::{name}"))
            .arg("-"))
        .with_context(|| format!("reading {name} from the card"))?;
        Ok(String::from_utf8(bytes)?)
    }

    /// The names in the root directory.
    pub fn names(&self) -> Result<Vec<String>> {
        let listing = run(command("mdir")
            .args(["-b", "-i"])
            .arg(self.drive())
            .arg("::"))?;
        let listing = String::from_utf8(listing)?;
        Ok(listing
            .lines()
            .map(|line| {
                line.trim_start_matches("::/")
                    .trim_end_matches('/')
                    .to_owned()
            })
            .collect())
    }

    fn drive(&self) -> String {
        format!("{}@@{PARTITION_OFFSET}", self.image.display())
    }
}
