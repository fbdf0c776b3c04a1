//! A vendor's image (Armbian, Raspberry Pi OS) as the base: its root file system, without what its vendor does at the
//! first boot.

mod disarm;
mod disk;
mod fits;
mod read;

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::boot::BootError;
use crate::cache::{Cache, CacheError, Cached, Key, is_sha256, sha256_of};
use crate::progress::Progress;
use crate::tree::TreeError;

pub use disarm::disarm;
pub use fits::check as check_fits;

/// A disk image unpacks to no more than this.
const LARGEST: u64 = 64 << 30;

/// The longest window that zstd knows, as a power of two: 2 GiB.
const LONGEST_WINDOW: u32 = 31;

/// What the import does, as a part of the cache's key: raised when the same image gives another root.
const VERSION: &str = "1";

/// A vendor's image.
#[derive(Clone, Debug)]
pub struct BaseImage {
    /// The file: a raw disk image, or one packed by xz, gzip or zstd.
    pub path: PathBuf,
    /// Its SHA-256, as the vendor says.
    pub sha256: String,
}

/// Why a vendor's image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaseImageError {
    /// Another file than the one asked for.
    #[error("{} has SHA-256 {found}, not {expected}; next: fetch it again", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// Not a digest.
    #[error(
        "--sha256 {given} is not a SHA-256; next: give the 64 hex digits that the vendor publishes beside the image"
    )]
    NoDigest {
        /// What was given.
        given: String,
    },
    /// What its packer wrote cannot be read.
    #[error(
        "cannot unpack {}: {problem}; next: fetch it again, and compare its SHA-256 with the vendor's",
        path.display()
    )]
    Packing {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file that is not called as a disk image is.
    #[error(
        "{} is not called *.img, *.img.xz, *.img.gz or *.img.zst; next: give the vendor's disk image under its own name",
        path.display()
    )]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// It never ends.
    #[error("{} unpacks to more than {} GiB, which no board's image has", path.display(), LARGEST >> 30)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// No root file system.
    #[error("{} has no partition with an ext4 root file system{found}", path.display())]
    NoRoot {
        /// The file.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// A root file system of another kind.
    #[error(
        "the root file system of {} is {kind}, and gild reads only ext4; next: take the vendor's image with an ext4 root",
        path.display()
    )]
    OtherRoot {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A kernel that is not in the root file system.
    #[error(
        "{} has its /boot, with the kernel, on a separate partition, and gild reads only the root file system; next: \
         take an image whose /boot is a folder of its root",
        path.display()
    )]
    SeparateBoot {
        /// The file.
        path: PathBuf,
    },
    /// Programs for another processor.
    #[error(
        "the packages of {} are for {found}, and nodes run packages for arm64; next: take the vendor's 64-bit image",
        path.display()
    )]
    Architecture {
        /// The file.
        path: PathBuf,
        /// What they are for.
        found: String,
    },
    /// Another release than the added packages have.
    #[error(
        "{} is {found}, and the packages of this recipe are from {suite}: you cannot mix the two; next: take the vendor's image of \
         {suite}, or a recipe with its release as the suite",
        path.display()
    )]
    OtherRelease {
        /// The file.
        path: PathBuf,
        /// The release that it says.
        found: String,
        /// The recipe's.
        suite: String,
    },
    /// A kernel that does not know the board, or not all of its steppings.
    #[error(
        "{} does not fit {board}: {}; next: take the vendor's image for this board, perhaps a newer one, or give the \
         --board that it is for",
        path.display(),
        without_next(lack)
    )]
    OtherBoard {
        /// The file.
        path: PathBuf,
        /// The board.
        board: String,
        /// What it lacks.
        lack: Box<BootError>,
    },
    /// The file system is damaged.
    #[error("cannot read {inside:?} in the root file system of {}: {problem}", path.display())]
    FileSystem {
        /// The file.
        path: PathBuf,
        /// The path in it.
        inside: String,
        /// What is wrong.
        problem: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The tree refused it.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// An error without what to do about it: for a vendor's image that is something else.
fn without_next(error: &BootError) -> String {
    let said = error.to_string();
    match said.split_once("; next: ") {
        Some((what, _)) => what.to_owned(),
        None => said,
    }
}

impl BaseImage {
    /// Checks the file, before anything expensive starts.
    pub fn check(&self) -> Result<(), BaseImageError> {
        packing(&self.path)?;
        if !is_sha256(&self.sha256) {
            return Err(BaseImageError::NoDigest {
                given: self.sha256.clone(),
            });
        }
        let found = sha256_of(&self.path)?;
        if found.eq_ignore_ascii_case(self.sha256.trim()) {
            return Ok(());
        }
        Err(BaseImageError::Digest {
            path: self.path.clone(),
            found,
            expected: self.sha256.clone(),
        })
    }
}

/// The image's root file system as a tar file in the cache.
pub fn import(
    image: &BaseImage,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<Cached, BaseImageError> {
    let mut key = Key::new("vendor");
    key.add("image sha256", image.sha256.trim().to_lowercase());
    key.add("import", VERSION);
    let slot = cache.lock(&key, progress)?;
    if let Some(cached) = slot.existing(progress) {
        return Ok(cached);
    }
    let scratch = cache.subfolder("tmp")?;
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| BaseImageError::Io {
            action,
            path,
            source,
        }
    };
    let mut disk = tempfile::tempfile_in(&scratch).map_err(failed("write to", &scratch))?;
    progress.note("unpacking it");
    unpack(&image.path, &mut disk, &scratch)?;
    let root = disk::find_root(disk, &image.path)?;
    progress.note(
        "reading its root file system (ownership and modes stay, extended attributes do not)",
    );
    let spool = tempfile::tempfile_in(&scratch).map_err(failed("write to", &scratch))?;
    let (tree, newest) = read::tree(&root, spool, &image.path)?;
    let part = slot.unfinished();
    let mut tar = BufWriter::new(File::create(&part).map_err(failed("write", &part))?);
    tree.write_tar(&mut tar, newest)?;
    tar.flush().map_err(failed("write", &part))?;
    Ok(slot.finish(newest)?)
}

#[derive(Clone, Copy)]
enum Packing {
    None,
    Xz,
    Gzip,
    Zstd,
}

fn packing(path: &Path) -> Result<Packing, BaseImageError> {
    let name = path.to_string_lossy();
    for (ending, packing) in [
        (".img", Packing::None),
        (".img.xz", Packing::Xz),
        (".img.gz", Packing::Gzip),
        (".img.zst", Packing::Zstd),
    ] {
        if name.ends_with(ending) {
            return Ok(packing);
        }
    }
    Err(BaseImageError::Name {
        path: path.to_owned(),
    })
}

/// Writes the raw image, with holes where it is zero.
fn unpack(path: &Path, disk: &mut File, scratch: &Path) -> Result<(), BaseImageError> {
    let failed = |source: io::Error| {
        let path = path.to_owned();
        match source.kind() {
            // The kernel's own errors have a number.
            _ if source.raw_os_error().is_some() => BaseImageError::Io {
                action: "read",
                path,
                source,
            },
            io::ErrorKind::UnexpectedEof => BaseImageError::Packing {
                path,
                problem: "its end is missing".to_owned(),
            },
            _ => BaseImageError::Packing {
                path,
                problem: format!("it is damaged, or something follows its end ({source})"),
            },
        }
    };
    let full = |source| BaseImageError::Io {
        action: "unpack into",
        path: scratch.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut source: Box<dyn Read> = match packing(path)? {
        Packing::None => Box::new(file),
        Packing::Xz => Box::new(lzma_rust2::XzReader::new(io::BufReader::new(file), true)),
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(io::BufReader::new(file))),
        Packing::Zstd => {
            let mut decoder = zstd::Decoder::new(file).map_err(failed)?;
            // `zstd --long=31`: as much memory as the file needs, because its digest is known.
            decoder.window_log_max(LONGEST_WINDOW).map_err(failed)?;
            Box::new(decoder)
        }
    };
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let length = source.read(&mut buffer).map_err(failed)?;
        if length == 0 {
            disk.set_len(size).map_err(full)?;
            return Ok(());
        }
        if size + length as u64 > LARGEST {
            return Err(BaseImageError::TooLarge {
                path: path.to_owned(),
            });
        }
        let bytes = &buffer[..length];
        if bytes.iter().any(|byte| *byte != 0) {
            std::os::unix::fs::FileExt::write_all_at(disk, bytes, size).map_err(full)?;
        }
        size += length as u64;
    }
}
