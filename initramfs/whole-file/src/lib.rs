//! Files that are replaced whole: whatever fails, and whenever the power does, there is the old file or the new one.
//!
//! A new file is written under a name that no reader knows, beside the place where it will go. When its bytes are safe on
//! the disk it gets its name, and the folder is written too. A file that does not get its name is removed.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

/// The mode, as far as the umask allows it: an NFS server must be able to read the file.
const MODE: u32 = 0o644;
/// The mode of a file with secrets: nobody but its owner reads it.
const SECRET: u32 = 0o600;

/// A file that is being written and has no name that readers know.
#[derive(Debug)]
pub struct Unnamed(NamedTempFile);

impl Unnamed {
    /// An empty file in the folder where this path is.
    pub fn beside(path: &Path) -> io::Result<Self> {
        Self::with_mode(folder_of(path), OsStr::new("."), MODE)
    }

    /// An empty file in this folder, whose name begins like this, so that the file of a killed program is recognized.
    pub fn new(folder: &Path, prefix: &OsStr) -> io::Result<Self> {
        Self::with_mode(folder, prefix, MODE)
    }

    fn with_mode(folder: &Path, prefix: &OsStr, mode: u32) -> io::Result<Self> {
        tempfile::Builder::new()
            .prefix(prefix)
            .suffix(".tmp")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(folder)
            .map(Self)
    }

    /// The file, to be written to.
    pub fn file(&mut self) -> &mut File {
        self.0.as_file_mut()
    }

    /// Makes the bytes safe on the disk.
    pub fn finish(self) -> io::Result<Finished> {
        self.0.as_file().sync_all()?;
        Ok(Finished(self.0))
    }
}

/// A file whose bytes are safe on the disk. It has no name that readers know yet.
#[derive(Debug)]
pub struct Finished(NamedTempFile);

impl Finished {
    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        self.0.as_file()
    }

    /// Where it is now.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Gives the file its name, which is safe once its folder is: [`sync_folder_of`].
    pub fn put(self, path: &Path) -> io::Result<()> {
        let file = self.0.persist(path)?;
        // The kernel's FAT writes the new place and length of a renamed file with the file, not with its folder. Until then the name leads to
        // the bytes of the replaced file, which are free already.
        file.sync_all()
    }
}

/// Makes the names in this path's folder safe on the disk.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// Replaces a file with what `write` writes.
pub fn replace_with(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    put(Unnamed::beside(path)?, path, write)
}

/// The same for a file with secrets. From its first byte on only its owner may read it.
pub fn replace_secret_with(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let new = Unnamed::with_mode(folder_of(path), OsStr::new("."), SECRET)?;
    put(new, path, write)
}

fn put(
    mut new: Unnamed,
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    write(new.file())?;
    new.finish()?.put(path)?;
    sync_folder_of(path)
}

/// Replaces a file with these bytes.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, |file| file.write_all(bytes))
}

/// The folder that a path names a file in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_stays_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        let content = || fs::read_to_string(&path).expect("a file");
        replace(&path, b"old").expect("the first");
        let failed = replace_with(&path, |file| {
            file.write_all(b"half of the n")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.is_err());
        assert_eq!(content(), "old");
        replace(&path, b"new").expect("the second");
        assert_eq!(content(), "new");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn others_may_read_it_as_the_umask_says_unless_it_is_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let mode = |name| {
            let path = folder.path().join(name);
            fs::metadata(path).expect("a file").permissions().mode() & 0o777
        };
        File::create(folder.path().join("plain")).expect("a file of the standard library");
        replace(&folder.path().join("ours"), b"").expect("ours");
        assert_eq!(mode("ours"), mode("plain") & MODE);
        for _ in 0..2 {
            replace_secret_with(&folder.path().join("ours"), |file| {
                assert_eq!(file.metadata()?.permissions().mode() & 0o777, SECRET);
                Ok(())
            })
            .expect("a secret");
            assert_eq!(mode("ours"), SECRET);
        }
    }

    #[test]
    fn a_bare_name_is_in_the_present_folder() {
        assert_eq!(folder_of(Path::new("f")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/f")), Path::new("a"));
        assert_eq!(folder_of(Path::new("/f")), Path::new("/"));
    }
}
