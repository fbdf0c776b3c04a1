//! The flasher card: one image from which either board starts the agent.
//!
//! [`build`] makes one from a kernel, the agent, a configuration and the firmware files that the user supplies;
//! [`inspect`](inspect::inspect) reads one back. The same input gives the same bytes, and no root is needed.

mod board_files;
pub mod boot;
mod collection;
pub mod config;
pub mod device_tree;
pub mod fat;
pub mod firmware;
pub mod inspect;
pub mod kernel;
pub mod layout;
pub mod mkfs;

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use gild_boards::uboot_script::ScriptError;
use gild_card_format::agent_version::AGENT_VERSION;
use gild_card_format::names::{CONFIG, U_BOOT_AT};
use gild_card_format::sums::{self, SUMS};
use gild_initramfs::Initramfs;
use sha2::{Digest, Sha256};

use collection::{Collection, TwoContents};
use device_tree::DeviceTreeError;
use fat::Files;
use firmware::Firmware;

/// What goes on a card.
#[derive(Debug)]
pub struct Contents<'a> {
    /// `gild.toml`, checked.
    pub config: &'a str,
    /// The kernel directory: `version`, `vmlinuz`, `modules/` and `dtb/`.
    pub kernel: &'a Path,
    /// The agent: a static aarch64 program.
    pub agent: &'a Path,
    /// Firmware files, checked.
    pub firmware: &'a Firmware,
    /// Modules to load after a board's own: drivers of a virtual board's hardware.
    pub extra_modules: &'a [String],
}

/// Why there is no card.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The initramfs.
    #[error(transparent)]
    Initramfs(#[from] gild_initramfs::Error),
    /// A file of the kernel directory.
    #[error(
        "cannot read {path}, a file of the kernel directory (`make setup` makes one in target/kernel)"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel itself.
    #[error("{path} cannot be started by the boards")]
    Kernel {
        /// The file.
        path: PathBuf,
        /// Why.
        source: kernel::KernelError,
    },
    /// A device tree.
    #[error("{path} cannot be used on the card")]
    DeviceTree {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DeviceTreeError,
    },
    /// The boot script.
    #[error("the boot script cannot be made")]
    Script(#[from] ScriptError),
    /// Two boards need different content.
    #[error(transparent)]
    TwoContents(#[from] TwoContents),
    /// All of it together.
    #[error(
        "the files have {bytes} bytes together, and the card's file system has room for {room}"
    )]
    TooMuch {
        /// What there is.
        bytes: u64,
        /// What fits.
        room: u64,
    },
    /// The result.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Whom a file is for that no board has alone.
const ALL: &str = "every board";

/// A finished card.
#[derive(Debug)]
pub struct Card {
    /// Its files.
    pub files: Files,
    /// U-Boot for the Rock 5B.
    pub u_boot: Option<Vec<u8>>,
    /// The initramfs among the files, with its sizes.
    pub initramfs: Initramfs,
}

/// Puts together what goes on a card.
pub fn build(contents: &Contents) -> Result<Card, Error> {
    let boards: Vec<_> = gild_boards::all().iter().collect();
    let initramfs = gild_initramfs::build(&gild_initramfs::Contents {
        kernel: contents.kernel,
        agent: contents.agent,
        boards: &boards,
        extra_modules: contents.extra_modules,
    })?;
    let mut files = Collection::default();
    for (path, content) in contents.firmware.files() {
        files.put(ALL, &path, content)?;
    }
    files.put(ALL, boot::INITRAMFS, initramfs.bytes.clone())?;
    if let Some(version) = &initramfs.agent_version {
        files.put(ALL, AGENT_VERSION, format!("{version}\n").into_bytes())?;
    }
    let (image, packed) = kernels(&contents.kernel.join("vmlinuz"))?;
    files.put(ALL, boot::KERNEL, packed)?;
    files.put(ALL, boot::PLAIN_KERNEL, image)?;
    files.put(ALL, CONFIG, contents.config.as_bytes().to_vec())?;
    for board in boards {
        board_files::put(contents.kernel, board, &mut files)?;
    }
    let mut files = files.into_files();
    let sums = sums::write(&files);
    files.insert(SUMS.to_owned(), sums.into_bytes());
    Ok(Card {
        files,
        u_boot: contents.firmware.rock5b_u_boot.clone(),
        initramfs,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}

/// The kernel as it runs, and packed.
fn kernels(path: &Path) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let cannot_start = |source| Error::Kernel {
        path: path.to_owned(),
        source,
    };
    let image = kernel::image(read(path)?).map_err(cannot_start)?;
    let packed = kernel::pack(&image).map_err(cannot_start)?;
    Ok((image, packed))
}

impl Card {
    /// Two numbers of the content: the disk's and the file system's. They differ between different cards, and are equal on
    /// equal cards.
    #[must_use]
    pub fn ids(&self) -> (u32, u32) {
        let mut hash = Sha256::new();
        hash.update(&self.files[SUMS]);
        hash.update(&self.files[CONFIG]);
        hash.update(self.u_boot.as_deref().unwrap_or_default());
        let digest = hash.finalize();
        let word = |at: usize| {
            u32::from_be_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]])
        };
        // A disk whose number is 0 has none.
        (word(0).max(1), word(4).max(1))
    }

    /// Writes the card image, whole or not at all. It has what is secret in `gild.toml`.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let bytes = self
            .files
            .values()
            .map(|content| content.len() as u64)
            .sum();
        // Tables, and the rounding of a few files to clusters.
        let room = layout::FAT_LENGTH - (8 << 20);
        if bytes > room {
            return Err(Error::TooMuch { bytes, room });
        }
        let written = gild_whole_file::replace_secret_with(path, |file| {
            file.set_len(layout::CARD_LENGTH)?;
            self.write_to(file)
        });
        written.map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// Writes the card to a disk of its length that reads as zero.
    fn write_to(&self, disk: &mut (impl Read + Write + Seek)) -> io::Result<()> {
        let (disk_id, volume_id) = self.ids();
        disk.seek(SeekFrom::Start(0))?;
        disk.write_all(&layout::table(disk_id))?;
        if let Some(u_boot) = &self.u_boot {
            disk.seek(SeekFrom::Start(U_BOOT_AT))?;
            disk.write_all(u_boot)?;
        }
        mkfs::make(disk, volume_id, &self.files)
    }
}
