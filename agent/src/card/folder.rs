//! The card's files, for steps that must survive a power cut. Each call makes one change, which is durable when the call returns.

use std::ffi::OsString;
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
        fs::read_dir(mounted.path(""))
            .and_then(|entries| listed(entries.map(|entry| Ok(entry?.file_name()))))
            .map_err(|error| self.told("listing", "the files", error))
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

/// All names or an error: a list that ends early would hide a file that says what must be completed.
fn listed(entries: impl Iterator<Item = io::Result<OsString>>) -> io::Result<Vec<String>> {
    let names: Vec<OsString> = entries.collect::<io::Result<_>>()?;
    Ok(names
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .collect())
}

fn is_log(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_listed_to_its_end_is_an_error_and_not_a_shorter_one() {
        let name = |name: &str| Ok(OsString::from(name));
        let whole = listed([name("a"), name("b")].into_iter()).expect("a folder");
        assert_eq!(whole, ["a", "b"]);
        let torn = [name("a"), Err(io::Error::other("EIO")), name("b")];
        listed(torn.into_iter()).expect_err("a file may be missing");
    }
}
