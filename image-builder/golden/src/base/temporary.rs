//! Where the new root lies while it is made.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use nix::unistd::geteuid;

use super::{BaseError, failed};
use crate::progress::Progress;

/// The space for a root while it is made, with its packages.
const ROOM: u64 = 3 << 30;

/// How mmdebstrap becomes root of the new root.
pub fn mode(is_root: bool) -> &'static str {
    if is_root { "root" } else { "unshare" }
}

/// The folder in which mmdebstrap makes the root: the cache's, or without root the one that `TMPDIR` names.
pub fn place(of_cache: &Path, progress: &dyn Progress) -> Result<PathBuf, BaseError> {
    let path = if geteuid().is_root() {
        of_cache.to_owned()
    } else {
        let path = std::env::temp_dir();
        let path = fs::canonicalize(&path).map_err(failed(&path))?;
        check_open(&path)?;
        path
    };
    // A file system that does not say how full it is may have room.
    if let Ok(about) = statvfs(&path)
        && let free = about.blocks_available() * about.fragment_size()
        && free < ROOM
    {
        progress.warn(&format!(
            "{} has {} MiB free, and a base takes up to {} while it is made; if that fails: {}",
            path.display(),
            free >> 20,
            ROOM >> 20,
            if geteuid().is_root() {
                "give --cache DIR on another disk"
            } else {
                "set TMPDIR to a folder with room, such as /var/tmp"
            }
        ));
    }
    Ok(path)
}

/// Refuses a folder that root of a user namespace cannot reach: outside of the namespace that root is another user.
fn check_open(path: &Path) -> Result<(), BaseError> {
    for folder in path.ancestors() {
        let mode = fs::metadata(folder)
            .map_err(failed(folder))?
            .permissions()
            .mode();
        if mode & 0o001 == 0 {
            return Err(BaseError::Temporary {
                path: path.to_owned(),
                closed: folder.to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_a_home_that_is_closed_to_others_is_refused() {
        let place = tempfile::tempdir().expect("a folder");
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
        };
        let home = place.path().join("home");
        let inside = home.join("tmp");
        fs::create_dir_all(&inside).expect("folders");
        set(place.path(), 0o755);
        set(&home, 0o700);
        let error = check_open(&inside).expect_err("a closed home").to_string();
        assert!(
            error.contains(&format!("may not enter {} ", home.display())),
            "{error}"
        );
        assert!(error.contains("TMPDIR"), "{error}");
        set(&home, 0o755);
        check_open(&inside).expect("an open home");
    }
}
