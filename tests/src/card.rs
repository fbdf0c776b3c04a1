//! The flasher card as the board sees it: an MBR disk with one FAT32 partition labelled `GILD`.
//!
//! [`Card::make`] makes a card that has only the configuration: QEMU gives kernel and agent to the virtual board, instead of the board's
//! firmware. [`Card::whole`] makes the complete card of `gild card build`.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gild_card::firmware::Firmware;
use gild_card::{Contents, layout};

use crate::cargo::board_program;
use crate::command::{command, run, run_with_text};
use crate::kernel::Kernel;
use crate::{disk, flasher, workspace};

const SIZE: u64 = 64 << 20;
const PARTITION_OFFSET: u64 = 1 << 20;
/// Drivers of the hardware that a board also has if U-Boot starts it: the card on virtio, and the flash. The last one asks the others what
/// the chip is, so it must come after them.
const WITH_U_BOOT: [&str; 4] = ["virtio_blk", "cfi_probe", "cfi_cmdset_0001", "physmap"];
/// A key that belongs to nobody. Each test replaces the configuration by its own.
const ANY_KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

/// A card image in a file.
#[derive(Clone, Debug)]
pub struct Card {
    image: PathBuf,
    partition: u64,
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
            partition: PARTITION_OFFSET,
        };
        if let Some(text) = configuration {
            card.write("gild.toml", text)?;
        }
        Ok(card)
    }

    /// A card with everything on it, for both boards, with these firmware files and drivers of QEMU's hardware.
    pub fn whole(image: &Path, firmware: &Firmware, configuration: &str) -> Result<Self> {
        disk::copy(&built(firmware)?, image)?;
        // QEMU's cards have a power of two as their size. This is that of the smallest cards that are sold.
        File::options().write(true).open(image)?.set_len(1 << 30)?;
        let card = Self {
            image: image.to_path_buf(),
            partition: layout::FAT_AT,
        };
        card.write("gild.toml", configuration)?;
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

    /// Writes a file of any kind in the root directory, over an earlier one.
    pub fn put(&self, name: &str, content: &[u8]) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), content)?;
        run(command("mcopy")
            .arg("-o")
            .arg("-i")
            .arg(self.drive())
            .arg(file.path())
            .arg(format!("::{name}")))?;
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

    /// Calls the clusters of a file free, as a power cut can leave a file that was just replaced.
    pub fn free_clusters_of(&self, name: &str) -> Result<()> {
        let shown = run(command("mshowfat")
            .arg("-i")
            .arg(self.drive())
            .arg(format!("::{name}")))?;
        let shown = String::from_utf8(shown)?;
        let clusters = shown.rsplit_once('<').context("a chain of clusters")?.1;
        let (first, last) = clusters
            .split_once(['-', '>'])
            .context("the end of the chain")?;
        let first: u64 = first.parse()?;
        let last = last.trim().trim_end_matches('>');
        let last = if last.is_empty() {
            first
        } else {
            last.parse()?
        };

        let disk = File::options().read(true).write(true).open(&self.image)?;
        let mut boot = [0; 512];
        disk.read_exact_at(&mut boot, self.partition)?;
        let word = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let (sector, reserved) = (word(11), word(14));
        let length = (word(36) | word(38) << 16) * sector;
        for table in 0..u64::from(boot[16]) {
            let table = self.partition + reserved * sector + table * length;
            for cluster in first..=last {
                disk.write_all_at(&[0; 4], table + 4 * cluster)?;
            }
        }
        Ok(())
    }

    /// Fills the card to its last cluster.
    pub fn fill(&self) -> Result<()> {
        for power in (9..=SIZE.ilog2()).rev() {
            let filler = tempfile::NamedTempFile::new()?;
            filler.as_file().set_len(1 << power)?;
            // If a file is too large for the rest, mcopy writes nothing of it. A smaller one may fit.
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
        format!("{}@@{}", self.image.display(), self.partition)
    }
}

/// The image of a whole card with some configuration. It is made again only if its contents have changed.
fn built(firmware: &Firmware) -> Result<PathBuf> {
    let kernel = Kernel::with_flash()?;
    let agent = board_program("gild-agent")?;
    let extra_modules = flasher::MODULES.iter().chain(&WITH_U_BOOT);
    let extra_modules: Vec<String> = extra_modules.map(ToString::to_string).collect();
    let config = format!("server = \"nfs://192.0.2.1/gild\"\npublic_key = \"{ANY_KEY}\"\n");
    let contents = Contents {
        config: &config,
        kernel: kernel.directory(),
        agent: &agent,
        firmware,
        extra_modules: &extra_modules,
    };
    let mut inputs = vec![agent.clone()];
    let code = [
        "initramfs/src",
        "initramfs/src/mkfs",
        "initramfs/cpio/src",
        "boards/src",
    ];
    let data = gild_boards::all()
        .iter()
        .map(|board| format!("boards/{}", board.name));
    for folder in code.into_iter().map(str::to_owned).chain(data) {
        for entry in fs::read_dir(workspace::root().join(folder))? {
            inputs.extend(Some(entry?.path()).filter(|path| path.is_file()));
        }
    }
    inputs.sort();
    let inputs: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
    let words = [
        &kernel.version()?,
        &extra_modules.join(" "),
        &format!("{firmware:?}"),
    ];
    let key = workspace::key(&inputs, &words.map(String::as_str))?;
    // Boards have different firmware files on their cards, so each has its own card in the cache.
    let name = format!("card-{}", workspace::key(&[], &[words[2]])?);
    let place = workspace::cached(&name, &key, |directory| {
        gild_card::build(&contents)?.write(&directory.join("card.img"))?;
        Ok(())
    })?;
    Ok(place.join("card.img"))
}
