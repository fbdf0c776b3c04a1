//! A sealed tree and its boot files become a raw disk image: GPT, a FAT32 boot partition, an ext4 root.
//!
//! No root, no loop device, no mount; and equal inputs give equal bytes, whatever the host, its clock and its settings.

mod boot_files;
mod ext4;
mod fat;
mod gpt;
mod identity;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

pub use boot_files::{TOO_LARGE, gzip};
pub use identity::Identity;

use crate::tree::{Content, Tree, TreeError};

const MIB: u64 = 1 << 20;
/// The first 16 MiB stay free of partitions: U-Boot lies there on boards that want it.
const BOOT_START: u64 = 16 * MIB;
const BOOT_SIZE: u64 = 512 * MIB;
const ROOT_START: u64 = BOOT_START + BOOT_SIZE;

/// Why no image could be made.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The output, or a scratch file, could not be written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The tree could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A program that is needed could not be started.
    #[error("cannot run {}; next: {next}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What to do about it.
        next: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A program that is needed failed.
    #[error("{} failed while it {was} ({status}): {said}", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// What it did.
        was: &'static str,
        /// How it ended.
        status: std::process::ExitStatus,
        /// Its own words.
        said: String,
    },
    /// mke2fs reported success, but it failed.
    #[error(
        "mke2fs put {found} files and directories into the root file system, the tree has {expected}: \
         {} is not built to read tar files; next: make setup, which fetches an mke2fs that is", mke2fs.display()
    )]
    NotPopulated {
        /// The program.
        mke2fs: PathBuf,
        /// Inodes in use.
        found: u64,
        /// Inodes that the tree needs.
        expected: u64,
    },
    /// An extended attribute that would be lost.
    #[error(
        "{path:?} has the extended attribute {name}, and only security.capability gets into an image; \
         next: remove it from the source file"
    )]
    Attribute {
        /// The file.
        path: String,
        /// The attribute.
        name: String,
    },
    /// The boot partition could not be filled.
    #[error("cannot put {path:?} on the boot partition")]
    BootPartition {
        /// The file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The boot files take more than the boot partition has.
    #[error("the boot files take {bytes} bytes, the boot partition has room for {room}")]
    BootFull {
        /// What they take.
        bytes: u64,
        /// What there is.
        room: u64,
    },
    /// A file that the board's firmware could not read.
    #[error(
        "{what} has {bytes} bytes when compressed: firmware of a Pi 5 from before June 2025 cannot read 32 MiB or more"
    )]
    TooLarge {
        /// The file.
        what: &'static str,
        /// Its size.
        bytes: u64,
    },
    /// The partition table could not be written.
    #[error("cannot write the partition table into {}", path.display())]
    PartitionTable {
        /// The image.
        path: PathBuf,
        /// Why not.
        source: Box<gptman::Error>,
    },
}

/// What goes into an image.
#[derive(Clone, Copy, Debug)]
pub struct Assembly<'a> {
    /// The fixed names of this kind of image.
    pub identity: &'a Identity,
    /// The root file system.
    pub tree: &'a Tree,
    /// The boot partition's files by their paths on it.
    pub boot: &'a BTreeMap<String, Content>,
    /// Seconds since 1970: no time in the image is later.
    pub source_date: u64,
    /// An mke2fs that fills file systems from tar files (1.47.2 with libarchive, or later).
    pub mke2fs: &'a Path,
    /// Bytes of a sector of the disk that the image is for: 512 or 4096.
    pub sector_size: u32,
    /// Room in the root file system beyond its content, bytes: what a node writes before its root is grown.
    pub slack: u64,
}

/// Writes the raw image. A half image never has the output's name.
pub fn assemble(assembly: &Assembly<'_>, output: &Path) -> Result<(), AssembleError> {
    let part = output.with_extension("part");
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| AssembleError::Io {
            action,
            path,
            source,
        }
    };
    let root_size = ext4::size_for(assembly.tree, assembly.slack);
    // The table's copy at the end takes 33 small sectors, or 5 large ones.
    let size = ROOT_START + root_size + MIB;
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io("remove", &part)(error));
        }
        _ => {}
    }
    let image = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&part)
        .map_err(io("create", &part))?;
    image.set_len(size).map_err(io("enlarge", &part))?;
    write(assembly, &image, &part, root_size)?;
    image.sync_all().map_err(io("flush", &part))?;
    fs::rename(&part, output).map_err(io("put in place", output))
}

fn write(
    assembly: &Assembly<'_>,
    image: &File,
    path: &Path,
    root_size: u64,
) -> Result<(), AssembleError> {
    fat::write(assembly, path)?;
    ext4::write(assembly, image, path, root_size)?;
    gpt::write(assembly, image, root_size).map_err(|source| AssembleError::PartitionTable {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// The mounts of a node: by partition GUID, so that neither the disk's name nor a label decides. A boot partition that
/// cannot be mounted does not keep the node from starting.
#[must_use]
pub fn fstab(identity: &Identity) -> String {
    format!(
        "PARTUUID={} / ext4 errors=remount-ro 0 1\nPARTUUID={} /boot/firmware vfat defaults,nofail 0 2\n",
        identity.root_partuuid(),
        identity.boot_partuuid()
    )
}
