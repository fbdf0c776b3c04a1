//! What can be wrong with a tree, a path in it, or the tar that it comes from.

use std::io;
use std::path::PathBuf;

/// Why a tree could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The tar file, or a file of the host, could not be read, or the output not written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A name that leads out of the tree, or that the image cannot hold.
    #[error("{path:?} cannot be a path in the image: {reason}")]
    BadPath {
        /// The name.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Something in the way of the path is not a directory.
    #[error("cannot reach {path:?} in the image: {blocker:?} is not a directory")]
    NotADirectory {
        /// The path asked for.
        path: String,
        /// The part of it that is in the way.
        blocker: String,
    },
    /// A directory that still has entries would be replaced by something else.
    #[error("cannot replace {path:?} by a file: it is a directory of the image")]
    IsADirectory {
        /// The directory.
        path: String,
    },
    /// There is no such entry.
    #[error("the image has no {path:?}")]
    Missing {
        /// The path asked for.
        path: String,
    },
    /// The entry is there, and is not a regular file.
    #[error("{path:?} in the image is not a regular file")]
    NotAFile {
        /// The path asked for.
        path: String,
    },
    /// A pattern that cannot be read.
    #[error("{pattern:?} is not a pattern of paths")]
    BadPattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: globset::Error,
    },
    /// The tar file has something that an image cannot take.
    #[error("{path:?} in {}: {what}", tar.display())]
    Unsupported {
        /// The tar file.
        tar: PathBuf,
        /// The entry.
        path: String,
        /// What it is.
        what: String,
    },
}
