//! A directory of the host laid into the tree.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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
    /// Something that is no file, directory or symbolic link, or whose name is not UTF-8.
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

/// Lays all that is below a directory of the host into the tree, where it belongs to root.
///
/// Files get the mode 0755 when their owner may execute them on the host and 0644 when not, and replace what is there;
/// directories are made with 0755, those that are there stay as they are; symbolic links are taken as they are.
pub fn lay(tree: &mut Tree, directory: &Path) -> Result<(), OverlayError> {
    lay_below(tree, directory, "")
}

fn lay_below(tree: &mut Tree, directory: &Path, prefix: &str) -> Result<(), OverlayError> {
    let listed: io::Result<Vec<_>> = fs::read_dir(directory).and_then(Iterator::collect);
    let mut entries = listed.map_err(|source| OverlayError::Read {
        path: directory.to_owned(),
        source,
    })?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let read = |source| OverlayError::Read {
            path: path.clone(),
            source,
        };
        let refused = |reason| OverlayError::Refused {
            path: path.clone(),
            reason,
        };
        let taken = |source| OverlayError::Tree {
            path: path.clone(),
            source,
        };
        let name = entry.file_name();
        let name = name
            .to_str()
            .ok_or_else(|| refused("its name is not UTF-8"))?;
        let place = format!("{prefix}{name}");
        let metadata = entry.metadata().map_err(read)?;
        if metadata.is_dir() {
            tree.ensure_dir(&place).map_err(taken)?;
            lay_below(tree, &path, &format!("{place}/"))?;
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).map_err(read)?;
            let target = target
                .to_str()
                .ok_or_else(|| refused("its target is not UTF-8"))?;
            tree.insert_symlink(&place, target).map_err(taken)?;
        } else if metadata.is_file() {
            let executable = metadata.permissions().mode() & 0o100 != 0;
            let content = Content::of_host_file(&path).map_err(taken)?;
            tree.insert_file(&place, if executable { 0o755 } else { 0o644 }, content)
                .map_err(taken)?;
        } else {
            return Err(refused(
                "it is neither a file nor a directory nor a symbolic link",
            ));
        }
    }
    Ok(())
}
