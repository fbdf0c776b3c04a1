//! The programs of first boot, built from `image-builder/node`.

use std::env;
use std::fs;
use std::os::unix::ffi::OsStrExt;
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
        "{} is not a program for the boards; next: cargo build --release -p gild-node --target \
         aarch64-unknown-linux-musl (`make image` does), or say where it is with --first-boot", path.display()
    )]
    NotAProgram {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It says where it was built.
    #[error(
        "{} names {}, a folder of this machine, which every node would have; next: build it with `make image`, which \
         leaves the folder's name out", path.display(), folder.display()
    )]
    NamesAFolder {
        /// The program.
        path: PathBuf,
        /// The folder that it names.
        folder: PathBuf,
    },
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] K3sError),
    /// The tree refused it.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Checks that the programs are there, that they are programs for the boards, and that they do not contain the path where they
/// were built.
pub fn check(folder: &Path) -> Result<(), FirstBootError> {
    let homes = ["HOME", "CARGO_HOME"].map(|name| env::var_os(name).map(PathBuf::from));
    let places: Vec<PathBuf> = homes
        .into_iter()
        .flatten()
        .chain(env::current_dir())
        .collect();
    for (name, _) in PROGRAMS {
        let path = folder.join(name);
        if !path.is_file() || !is_arm64_program(&path)? {
            return Err(FirstBootError::NotAProgram { path });
        }
        let program = fs::read(&path).map_err(|source| K3sError::Read {
            path: path.clone(),
            source,
        })?;
        if let Some(folder) = named(&program, &places) {
            let folder = folder.to_owned();
            return Err(FirstBootError::NamesAFolder { path, folder });
        }
    }
    Ok(())
}

/// Which of the folders a program names, as the messages of its panics would.
fn named<'a>(program: &[u8], folders: &'a [PathBuf]) -> Option<&'a Path> {
    folders.iter().map(PathBuf::as_path).find(|folder| {
        let below = [folder.as_os_str().as_bytes(), b"/"].concat();
        folder.is_absolute()
            && folder.parent().is_some()
            && program.windows(below.len()).any(|part| part == below)
    })
}

/// Their names, and where they are on the host.
pub fn programs(folder: &Path) -> impl Iterator<Item = (&'static str, PathBuf)> {
    PROGRAMS
        .map(|(name, _)| (name, folder.join(name)))
        .into_iter()
}

/// Puts them into the tree.
pub fn install(tree: &mut Tree, folder: &Path) -> Result<(), FirstBootError> {
    for (name, place) in PROGRAMS {
        let program = Content::of_host_file(&folder.join(name))?;
        tree.insert_file(place, 0o755, program)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_names_a_folder_of_its_builder_is_known() {
        let folders = ["/", "", "/home/me", "/srv/gild"].map(PathBuf::from);
        let named = |program: &str| named(program.as_bytes(), &folders);
        assert_eq!(
            named("x\0/home/me/.cargo/registry/src/a.rs"),
            Some(Path::new("/home/me"))
        );
        assert_eq!(named("/srv/gild/a.rs"), Some(Path::new("/srv/gild")));
        assert_eq!(named("/cargo/registry/a.rs\0/home/meadow/a//b"), None);
    }

    #[test]
    fn such_a_program_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = env::current_dir().expect("where cargo starts tests");
        for (name, _) in PROGRAMS {
            let mut program = b"\x7fELF\x02\x01\x01".to_vec();
            program.resize(18, 0);
            program.extend([183, 0]);
            program.extend(home.join("src/a.rs").as_os_str().as_bytes());
            fs::write(folder.path().join(name), program).expect("a program");
        }
        let error = check(folder.path())
            .expect_err("its builder's folder")
            .to_string();
        assert!(
            error.contains("gild-seed names /") && error.contains("make image"),
            "{error}"
        );
    }
}
