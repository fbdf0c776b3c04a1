//! The root partition: ext4, filled by mke2fs from the tree's own tar, which it reads from its standard input.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};

use super::{AssembleError, Assembly, MIB, ROOT_START};
use crate::tree::{Kind, Tree, TreeError};

const BLOCK: u64 = 4096;
const INODE: u64 = 256;
/// One inode for so many bytes, on the image and on the disk that it grows to.
const BYTES_PER_INODE: u64 = 16384;
const JOURNAL: u64 = 64 * MIB;
/// What fits into the inode itself: a short symbolic link, and a small attribute.
const INLINE_LINK: usize = 60;
/// The one attribute that mke2fs takes from a tar file. It drops all others and does not report it.
const CARRIED: &str = "security.capability";
/// Its access list, which only Debian's systemd package makes, is made again by systemd-tmpfiles at each boot.
const JOURNAL_DIRECTORY: &str = "var/log/journal";
/// Up to this size, 4 TiB, the file system grows into the space that is kept for its tables. It can grow further without that
/// space.
const GROWS_TO: u64 = 4 << 40;
/// Inodes 1 to 10 are the file system's own, the root among them; the eleventh is lost+found.
const OWN_INODES: u64 = 11;

/// The host's mke2fs.conf is not used: these are the features that U-Boot, the kernel and e2fsck of every
/// Debian since 10 know.
const CONFIGURATION: &str = "[defaults]
base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
default_mntopts = acl,user_xattr
enable_periodic_fsck = 0
[fs_types]
ext4 = {
features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
}
gild = {
}
";

/// A size that surely takes the tree and the slack, in whole MiB.
pub fn size_for(tree: &Tree, slack: u64) -> u64 {
    let mut blocks = 0;
    let mut names = 0;
    let mut inodes = OWN_INODES;
    let mut links = BTreeSet::new();
    for (path, entry) in tree.iter() {
        // An entry of a directory: 8 bytes and the name; blocks of directories are two thirds full at worst.
        names += 16 + path.rsplit('/').next().unwrap_or(path).len() as u64;
        match &entry.kind {
            Kind::File {
                link: Some(number), ..
            } if !links.insert(*number) => continue,
            Kind::File { content, .. } => {
                // The extents of a file that is in many pieces take a block for 340 of them.
                let own = content.length().div_ceil(BLOCK);
                blocks += own + own.div_ceil(340 * 64);
            }
            Kind::Directory => blocks += 1,
            Kind::Symlink(target) => blocks += u64::from(target.len() >= INLINE_LINK),
            Kind::CharDevice(..) | Kind::BlockDevice(..) | Kind::Fifo => {}
        }
        blocks += u64::from(!entry.xattrs.is_empty());
        inodes += 1;
    }
    let data = blocks * BLOCK + names * 2 + JOURNAL;
    // Inode tables, bitmaps, copies of the superblock, and the room to grow.
    let overhead = data * INODE / BYTES_PER_INODE + data / 50 + 32 * MIB;
    let for_inodes = inodes * BYTES_PER_INODE * 5 / 4;
    // mke2fs refuses a journal that takes half of the file system.
    let least = 4 * JOURNAL;
    ((data + overhead).max(for_inodes).max(least) + slack).next_multiple_of(MIB)
}

pub fn write(
    assembly: &Assembly<'_>,
    image: &File,
    path: &Path,
    size: u64,
) -> Result<(), AssembleError> {
    check_attributes(assembly.tree)?;
    let scratch = |source| AssembleError::Io {
        action: "write mke2fs' configuration into",
        path: std::env::temp_dir(),
        source,
    };
    let mut configuration = tempfile::NamedTempFile::new().map_err(scratch)?;
    configuration
        .write_all(CONFIGURATION.as_bytes())
        .map_err(scratch)?;
    let mut command = mke2fs(assembly, configuration.path(), path, size);
    let mut child = command.spawn().map_err(|source| AssembleError::Start {
        program: assembly.mke2fs.to_owned(),
        next: "make setup, which puts it there",
        source,
    })?;
    let input = child.stdin.take().expect("its standard input is a pipe");
    let written = feed(assembly, input);
    let output = child
        .wait_with_output()
        .map_err(|source| AssembleError::Io {
            action: "wait for",
            path: assembly.mke2fs.to_owned(),
            source,
        })?;
    // When it dies early, writing to it fails too: its own words say more.
    if !output.status.success() {
        return Err(AssembleError::Failed {
            program: assembly.mke2fs.to_owned(),
            was: "filled the root file system",
            status: output.status,
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    written?;
    check_populated(assembly, image, path)
}

fn check_attributes(tree: &Tree) -> Result<(), AssembleError> {
    for (path, entry) in tree.iter() {
        let lost = entry.xattrs.keys().find(|name| *name != CARRIED);
        if let Some(name) = lost
            && path != JOURNAL_DIRECTORY
        {
            return Err(AssembleError::Attribute {
                path: path.to_owned(),
                name: name.clone(),
            });
        }
    }
    Ok(())
}

fn mke2fs(assembly: &Assembly<'_>, configuration: &Path, path: &Path, size: u64) -> Command {
    let identity = assembly.identity;
    let date = assembly.source_date.to_string();
    let mut command = Command::new(assembly.mke2fs);
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        // Names in UTF-8 are only read as such in a locale that has it.
        .env("LC_ALL", "C.UTF-8")
        .env("MKE2FS_CONFIG", configuration)
        .env("SOURCE_DATE_EPOCH", &date)
        .env("E2FSPROGS_FAKE_TIME", &date)
        .args(["-q", "-F", "-t", "ext4", "-T", "gild", "-L", "gild-root", "-e", "remount-ro"])
        .args(["-b", &BLOCK.to_string(), "-I", &INODE.to_string()])
        .args(["-i", &BYTES_PER_INODE.to_string(), "-m", "1"])
        .args(["-J", &format!("size={}", JOURNAL / MIB)])
        .args(["-U", &identity.root_fs.to_string()])
        .args([
            "-E",
            &format!(
                "offset={ROOT_START},hash_seed={},root_owner=0:0,resize={},lazy_itable_init=0,lazy_journal_init=0,nodiscard",
                identity.hash_seed,
                GROWS_TO / BLOCK
            ),
        ])
        .args(["-d", "-"])
        .arg(path)
        .arg((size / BLOCK).to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn feed(assembly: &Assembly<'_>, input: ChildStdin) -> Result<(), AssembleError> {
    let mut input = BufWriter::with_capacity(1 << 16, input);
    assembly.tree.write_tar(&mut input, assembly.source_date)?;
    let flushed = input.flush();
    flushed.map_err(|source| {
        AssembleError::Tree(TreeError::Io {
            action: "hand the root file system to",
            path: assembly.mke2fs.to_owned(),
            source,
        })
    })
}

/// An mke2fs without libarchive succeeds and leaves the file system empty: the superblock shows it.
fn check_populated(
    assembly: &Assembly<'_>,
    image: &File,
    path: &Path,
) -> Result<(), AssembleError> {
    let mut superblock = [0; 1024];
    image
        .read_exact_at(&mut superblock, ROOT_START + 1024)
        .map_err(|source| AssembleError::Io {
            action: "read back",
            path: path.to_owned(),
            source,
        })?;
    let number = |at: usize| {
        let mut word = [0; 4];
        word.copy_from_slice(&superblock[at..at + 4]);
        u32::from_le_bytes(word)
    };
    let (all, free) = (number(0), number(16));
    let found = u64::from(all.saturating_sub(free));
    let mut links = BTreeSet::new();
    let expected = assembly
        .tree
        .iter()
        .filter(|(path, entry)| {
            let is_first_name = match entry.kind {
                Kind::File {
                    link: Some(number), ..
                } => links.insert(number),
                _ => true,
            };
            is_first_name && !path.is_empty() && *path != "lost+found"
        })
        .count() as u64
        + OWN_INODES;
    if found == expected {
        Ok(())
    } else {
        Err(AssembleError::NotPopulated {
            mke2fs: assembly.mke2fs.to_owned(),
            found,
            expected,
        })
    }
}
