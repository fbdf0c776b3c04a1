//! Files that exist either whole or not at all, even if the power fails.
//!
//! They hold secrets. So a new file always has the same temporary name, and the next attempt removes what a power cut left.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

const NEW: &str = ".new";

/// Makes a directory that only root can use. Missing parents are made readable for everyone.
pub fn private_directory(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(above)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_directory_of(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        }
        Err(error) => Err(error),
    }
}

/// Replaces a file that only root can read.
pub fn write_private(path: &Path, content: &str) -> io::Result<()> {
    write_private_of(path, content, None)
}

/// Replaces a file that only its owner can read: this user and group, or root.
pub fn write_private_of(path: &Path, content: &str, owner: Option<(u32, u32)>) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(NEW);
    let new = Path::new(&name);
    remove(new)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(new)?;
    file.write_all(content.as_bytes())?;
    if let Some((user, group)) = owner {
        fchown(&file, Some(user), Some(group))?;
    }
    file.sync_all()?;
    fs::rename(new, path)?;
    sync_directory_of(path)
}

/// Removes a file or a link if it exists, and makes that durable.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_directory_of(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes a directory with its contents if it exists, and makes that durable.
pub fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => sync_directory_of(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("its mode").permissions().mode() & 0o7777
    }

    #[test]
    fn files_and_their_directory_are_for_root_alone_whatever_was_there() {
        let root = tempfile::tempdir().expect("a directory");
        let directory = root.path().join("a/b");
        let file = directory.join("f");
        fs::create_dir_all(&directory).expect("a directory that anyone may read");
        fs::write(&file, "old").expect("a file that anyone may read");
        fs::write(directory.join("f.new"), "of a cut attempt").expect("another");
        private_directory(&directory).expect("the directory");
        write_private(&file, "new").expect("the file");
        assert_eq!((mode(&directory), mode(&file)), (0o700, 0o600));
        assert_eq!(fs::read_to_string(&file).expect("the content"), "new");
        assert_eq!(fs::read_dir(&directory).expect("its files").count(), 1);
        remove(&file).expect("there");
        remove(&file).expect("gone already");
    }
}
