//! The card's files, for steps that must survive a power cut. Each call makes one change, which is durable when the call returns.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use nix::mount::MsFlags;

use super::{Card, rename};

/// Longest file that is read. The longest one there is has the image of a whole boot flash.
const MAX_FILE: u64 = 16 << 20;

/// A directory of files, the card or a stand-in for it.
pub trait Folder {
    /// Reads a file from the medium, not from what the kernel remembers of it; `None` if it does not exist.
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>>;
    /// Replaces a file in the root: after a power cut the old one or the new one is there.
    fn write(&self, name: &str, content: &[u8]) -> io::Result<()>;
    /// Gives a file in the root another name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file in the root, if it is there.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// The names in the root.
    fn names(&self) -> io::Result<Vec<String>>;
}

/// Each call mounts the card and unmounts it. After that the kernel has forgotten the content, so the next call reads the medium.
impl Folder for Card {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let mounted = self.mount(MsFlags::MS_RDONLY).map_err(io::Error::other)?;
        let read = || match File::open(mounted.path(path)) {
            Ok(file) => {
                let mut content = Vec::new();
                file.take(MAX_FILE + 1).read_to_end(&mut content)?;
                if content.len() as u64 > MAX_FILE {
                    return Err(io::Error::from(io::ErrorKind::FileTooLarge));
                }
                Ok(Some(content))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        read().map_err(|error| self.told("reading", path, error))
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        if self.leaves_alone(name) {
            return Ok(());
        }
        self.replace(name, content)
            .map_err(|error| self.told("writing", name, error))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if self.leaves_alone(from) {
            return Ok(());
        }
        let mounted = self.mount(MsFlags::empty()).map_err(io::Error::other)?;
        rename(&mounted.path(from), &mounted.path(to))
            .map_err(|error| self.told("renaming", from, error))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if self.leaves_alone(name) {
            return Ok(());
        }
        let mounted = self.mount(MsFlags::empty()).map_err(io::Error::other)?;
        match fs::remove_file(mounted.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.and_then(|()| File::open(mounted.path(""))?.sync_all()),
        }
        .map_err(|error| self.told("removing", name, error))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mounted = self.mount(MsFlags::MS_RDONLY).map_err(io::Error::other)?;
        let entries = fs::read_dir(mounted.path(""))
            .map_err(|error| self.told("listing", "the files", error))?;
        Ok(entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect())
    }
}

impl Card {
    /// After a dry run the card is as it was before, except for what this node reports about itself.
    fn leaves_alone(&self, name: &str) -> bool {
        let is_left = self.is_dry && !is_log(name);
        if is_left {
            log::info!("dry run: {name} on the card stays as it is");
        }
        is_left
    }

    fn told(&self, action: &'static str, what: &str, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), self.failed(action, what, error))
    }
}

fn is_log(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "log")
}
