//! The programs of first boot, built from `image-builder/first-boot`.

use std::path::{Path, PathBuf};

use crate::k3s::{K3sError, is_arm64_program};
use crate::tree::{Content, Tree, TreeError};

const PROGRAMS: [(&str, &str); 2] = [
    ("gild-seed", "usr/lib/gild/gild-seed"),
    ("gild-reprovision", "usr/sbin/gild-reprovision"),
];

/// The programs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FirstBootError {
    /// A program is missing or was built for another machine.
    #[error(
        "{} is no program for the boards; next: cargo build --release -p gild-first-boot --target \
         aarch64-unknown-linux-musl (`make image` does), or say where it is with --first-boot", path.display()
    )]
    NotAProgram {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] K3sError),
    /// The tree refused it.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Checks that they are there, and for the boards.
pub fn check(folder: &Path) -> Result<(), FirstBootError> {
    for (name, _) in PROGRAMS {
        let path = folder.join(name);
        if !path.is_file() || !is_arm64_program(&path)? {
            return Err(FirstBootError::NotAProgram { path });
        }
    }
    Ok(())
}

/// Puts them into the tree.
pub fn install(tree: &mut Tree, folder: &Path) -> Result<(), FirstBootError> {
    for (name, place) in PROGRAMS {
        let program = Content::of_host_file(&folder.join(name))?;
        tree.insert_file(place, 0o755, program)?;
    }
    Ok(())
}
