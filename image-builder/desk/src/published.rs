//! The folder of the published images, as both servers read it. They serve nothing outside of it: they do not ask who a client is, so a
//! symbolic link out of the folder would show this machine's files to everybody.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use crate::regular_file;

/// The kernel asks for another attempt when somebody renames a folder during the look-up.
const ATTEMPTS: usize = 16;

/// The folder, open.
pub struct Published(File);

impl Published {
    /// This folder. It may be a link itself.
    pub fn open_folder(path: &Path) -> io::Result<Self> {
        let folder = File::open(path)?;
        if folder.metadata()?.is_dir() {
            Ok(Self(folder))
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    /// Whether the contents of this folder can be looked up.
    pub fn check(path: &Path) -> io::Result<()> {
        Self::open_folder(path)?.metadata(Path::new("")).map(drop)
    }

    /// What lies in the folder by this name.
    pub fn metadata(&self, name: &Path) -> io::Result<Metadata> {
        self.resolve(name, OFlag::O_PATH | OFlag::O_CLOEXEC)?
            .metadata()
    }

    /// Opens a regular file of the folder for reading.
    pub fn open(&self, name: &Path) -> io::Result<File> {
        regular_file::only(self.resolve(name, regular_file::FLAGS)?)
    }

    /// Links are followed as long as they stay below the folder.
    fn resolve(&self, name: &Path, flags: OFlag) -> io::Result<File> {
        let name = if name.as_os_str().is_empty() {
            Path::new(".")
        } else {
            name
        };
        let how = OpenHow::new()
            .flags(flags)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let mut result = Err(Errno::EAGAIN);
        for _ in 0..ATTEMPTS {
            result = openat2(&self.0, name, how);
            if !matches!(result, Err(Errno::EAGAIN | Errno::EINTR)) {
                break;
            }
        }
        Ok(result?.into())
    }
}

/// Whether it was a link out of the folder.
pub fn leads_out(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::CrossesDevices
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_below_the_folder_and_nowhere_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let images = folder.path().join("images");
        fs::create_dir_all(images.join("rpi5")).expect("a folder");
        fs::write(images.join("rpi5/a"), "golden").expect("a file");
        fs::write(folder.path().join("site.key"), "secret").expect("a file");
        symlink("rpi5", images.join("board")).expect("a link");
        symlink("../rpi5/a", images.join("rpi5/inside")).expect("a link");
        symlink("../../site.key", images.join("rpi5/out")).expect("a link");
        symlink(folder.path(), images.join("all")).expect("a link");
        let absolute = folder.path().join("site.key");
        symlink(absolute, images.join("rpi5/absolute")).expect("a link");
        symlink("/proc/self/root", images.join("magic")).expect("a link");
        let published = Published::open_folder(&images).expect("a folder");
        for name in ["rpi5/a", "board/a", "rpi5/inside", "board/inside"] {
            let size = published.metadata(Path::new(name)).expect(name).len();
            assert_eq!(size, 6, "{name}");
            published.open(Path::new(name)).expect(name);
        }
        for name in [
            "rpi5/out",
            "rpi5/absolute",
            "all/site.key",
            "magic/etc/passwd",
            "../site.key",
            "/etc/passwd",
        ] {
            let name = Path::new(name);
            let refused = published.open(name).expect_err("outside");
            assert!(leads_out(&refused), "{}: {refused}", name.display());
            let refused = published.metadata(name).expect_err("outside");
            assert!(leads_out(&refused), "{}: {refused}", name.display());
        }
        published.open(Path::new("")).expect_err("a folder");
        assert!(published.metadata(Path::new("")).expect("itself").is_dir());
    }
}
