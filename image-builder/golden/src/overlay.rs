//! Copies a directory of the host into the tree.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::tree::{Content, Tree, TreeError};

/// Why a directory could not be laid into the tree.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// The directory, or something in it, could not be read.
    #[error("cannot read {} to lay it into the image", path.display())]
    Read {
        /// What could not be read.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something that an image cannot or must not hold.
    #[error("cannot lay {} into the image: {reason}", path.display())]
    Refused {
        /// What it is about.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// The tree does not take it.
    #[error("cannot lay {} into the image", path.display())]
    Tree {
        /// What it is about.
        path: PathBuf,
        /// Why not.
        source: TreeError,
    },
}

/// Copies everything below a directory of the host into the tree, owned by root, and returns the paths of its files and links.
///
/// A file gets the mode 0755 if its owner may execute it on the host, otherwise 0644, and replaces what is there. A new directory
/// gets 0755, and an existing one stays as it is. A symbolic link is copied as it is.
pub fn lay(tree: &mut Tree, directory: &Path) -> Result<Vec<String>, OverlayError> {
    let mut laid = Vec::new();
    walk(directory, "", &mut |place, path, metadata| {
        let taken = |source| OverlayError::Tree {
            path: path.to_owned(),
            source,
        };
        if metadata.is_dir() {
            return tree.ensure_dir(place).map(drop).map_err(taken);
        }
        if metadata.is_symlink() {
            tree.insert_symlink(place, &target(path)?).map_err(taken)?;
        } else {
            let content = Content::of_host_file(path).map_err(taken)?;
            let mode = if is_executable(metadata) {
                0o755
            } else {
                0o644
            };
            tree.insert_file(place, mode, content).map_err(taken)?;
        }
        laid.push(place.to_owned());
        Ok(())
    })?;
    Ok(laid)
}

/// Refuses a directory with something in it that others on the host may not read: in the image everybody can.
pub fn check_public(directory: &Path) -> Result<(), OverlayError> {
    walk(directory, "", &mut |_, path, metadata| {
        let needed = if metadata.is_dir() { 0o005 } else { 0o004 };
        // The mode of a link says nothing.
        if metadata.is_symlink() || metadata.permissions().mode() & needed == needed {
            return Ok(());
        }
        Err(OverlayError::Refused {
            path: path.to_owned(),
            reason: "other users may not read it here, so it looks like a secret, and an image must not hold one; next: take it \
                     out, or if it is public, chmod a+rX",
        })
    })
}

/// The SHA-256 over all that [`lay`] takes of a directory: names, kinds, contents, and who may execute.
pub fn digest(directory: &Path) -> Result<String, OverlayError> {
    let mut hasher = Sha256::new();
    walk(directory, "", &mut |place, path, metadata| {
        let (kind, content) = if metadata.is_dir() {
            ("directory", Vec::new())
        } else if metadata.is_symlink() {
            ("link", target(path)?.into_bytes())
        } else if is_executable(metadata) {
            ("program", Vec::new())
        } else {
            ("file", Vec::new())
        };
        for part in [kind.as_bytes(), place.as_bytes()] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        if metadata.is_file() {
            return add_file(&mut hasher, path);
        }
        hasher.update((content.len() as u64).to_le_bytes());
        hasher.update(content);
        Ok(())
    })?;
    Ok(hex::encode(hasher.finalize()))
}

/// A file may be larger than the memory.
fn add_file(hasher: &mut Sha256, path: &Path) -> Result<(), OverlayError> {
    let mut file = File::open(path).map_err(unread(path))?;
    let length = file.metadata().map_err(unread(path))?.len();
    hasher.update(length.to_le_bytes());
    let mut buffer = vec![0; 1 << 20];
    let mut found = 0;
    loop {
        let read = file.read(&mut buffer).map_err(unread(path))?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        found += read as u64;
    }
    if found == length {
        Ok(())
    } else {
        Err(refused(path, "it changed while it was read"))
    }
}

/// Shows everything below a directory, in order: its place, its path on the host, and its metadata on the host.
fn walk(
    directory: &Path,
    prefix: &str,
    visit: &mut dyn FnMut(&str, &Path, &Metadata) -> Result<(), OverlayError>,
) -> Result<(), OverlayError> {
    let listed: io::Result<Vec<_>> = fs::read_dir(directory).and_then(Iterator::collect);
    let mut entries = listed.map_err(unread(directory))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        let name = name
            .to_str()
            .ok_or_else(|| refused(&path, "its name is not UTF-8"))?;
        let place = format!("{prefix}{name}");
        let metadata = entry.metadata().map_err(unread(&path))?;
        if !(metadata.is_dir() || metadata.is_symlink() || metadata.is_file()) {
            let reason = "it is neither a file nor a directory nor a symbolic link";
            return Err(refused(&path, reason));
        }
        visit(&place, &path, &metadata)?;
        if metadata.is_dir() {
            walk(&path, &format!("{place}/"), visit)?;
        }
    }
    Ok(())
}

fn is_executable(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o100 != 0
}

fn target(path: &Path) -> Result<String, OverlayError> {
    let target = fs::read_link(path).map_err(unread(path))?;
    let target = target.to_str().map(str::to_owned);
    target.ok_or_else(|| refused(path, "its target is not UTF-8"))
}

fn unread(path: &Path) -> impl FnOnce(io::Error) -> OverlayError {
    move |source| OverlayError::Read {
        path: path.to_owned(),
        source,
    }
}

fn refused(path: &Path, reason: &'static str) -> OverlayError {
    OverlayError::Refused {
        path: path.to_owned(),
        reason,
    }
}
