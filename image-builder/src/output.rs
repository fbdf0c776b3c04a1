//! Where a command writes: never over its own input, and never over anything that is not a file.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, makedev, minor};

/// Something else is where a command was to write.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// A device, a folder, a pipe.
    #[error(
        "{} is not a file; next: give the name of a file (`gild card write` writes a card image to a device)",
        .0.display()
    )]
    NotFile(PathBuf),
    /// There is no folder for it.
    #[error("the folder of {} is not there; next: make it, or choose another name", .0.display())]
    NoFolder(PathBuf),
    /// A link that leads nowhere.
    #[error("{} is a link to nothing; next: remove it, or choose another name", .0.display())]
    Dangling(PathBuf),
    /// What the command reads.
    #[error(
        "{} is the input itself ({}), which is never overwritten; next: choose another name",
        output.display(),
        input.display()
    )]
    Input {
        /// Where it was to write.
        output: PathBuf,
        /// What it reads.
        input: PathBuf,
    },
    /// It cannot be seen what it is.
    #[error("cannot look at {}: {source}; next: see that it can be read, or choose another name", path.display())]
    Unseen {
        /// Where it was to write, or what it reads.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn unseen(path: &Path) -> impl FnOnce(io::Error) -> OutputError {
    |source| OutputError::Unseen {
        path: path.to_owned(),
        source,
    }
}

/// Where to write a file of this name: at this path, or where a link of this name leads. `inputs` are the files that the command
/// reads, and folders of such files.
pub fn place(path: &Path, inputs: &[&Path]) -> Result<PathBuf, OutputError> {
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if path.is_symlink() {
                return Err(OutputError::Dangling(path.to_owned()));
            }
            let folder = path.parent().filter(|folder| *folder != Path::new(""));
            if folder.is_some_and(|folder| !folder.exists()) {
                return Err(OutputError::NoFolder(path.to_owned()));
            }
            return Ok(path.to_owned());
        }
        Err(error) => return Err(unseen(path)(error)),
    };
    if !about.is_file() {
        return Err(OutputError::NotFile(path.to_owned()));
    }
    must_not_hold(path, inputs)?;
    if path.is_symlink() {
        return path.canonicalize().map_err(unseen(path));
    }
    Ok(path.to_owned())
}

/// Refuses to write to a file or a disk that holds what the command reads.
pub fn must_not_hold(output: &Path, inputs: &[&Path]) -> Result<(), OutputError> {
    let written = Storage::of(output)?;
    for input in inputs {
        if !Storage::of(input)?.0.is_disjoint(&written.0) {
            return Err(OutputError::Input {
                output: output.to_owned(),
                input: input.to_path_buf(),
            });
        }
    }
    Ok(())
}

/// The file or disk behind a path, whatever its name is, with each file and disk that a write to it would change too.
#[derive(Default)]
struct Storage(BTreeSet<Place>);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    File { device: u64, number: u64 },
    Device(u64),
}

impl Storage {
    fn of(path: &Path) -> Result<Self, OutputError> {
        let mut storage = Self::default();
        match fs::metadata(path) {
            Ok(about) if about.is_dir() => storage.add_folder(path)?,
            Ok(about) => storage.add(&about),
            Err(error) => return Err(unseen(path)(error)),
        }
        Ok(storage)
    }

    fn add_folder(&mut self, folder: &Path) -> Result<(), OutputError> {
        for entry in fs::read_dir(folder).map_err(unseen(folder))? {
            let entry = entry.map_err(unseen(folder))?;
            let (path, kind) = (entry.path(), entry.file_type());
            if kind.map_err(unseen(&path))?.is_dir() {
                self.add_folder(&path)?;
            } else if let Ok(about) = fs::metadata(&path) {
                // A link to nothing has no content and is skipped. A link to a folder is not followed, because it may lead back.
                self.add(&about);
            }
        }
        Ok(())
    }

    fn add(&mut self, about: &Metadata) {
        if about.file_type().is_block_device() {
            self.add_disk(about.rdev());
        } else {
            self.0.insert(Place::File {
                device: about.dev(),
                number: about.ino(),
            });
        }
    }

    /// Adds a disk, and the disk that it is a partition of, or the file behind a loop device.
    fn add_disk(&mut self, device: u64) {
        if !self.0.insert(Place::Device(device)) {
            return;
        }
        let sysfs = format!("/sys/dev/block/{}:{}", major(device), minor(device));
        let sysfs = Path::new(&sysfs);
        if sysfs.join("partition").exists()
            && let Ok(numbers) = fs::read_to_string(sysfs.join("../dev"))
            && let Some((major, minor)) = numbers.trim().split_once(':')
            && let (Ok(major), Ok(minor)) = (major.parse(), minor.parse())
        {
            self.add_disk(makedev(major, minor));
        }
        if let Ok(file) = fs::read_to_string(sysfs.join("loop/backing_file"))
            && let Ok(about) = fs::metadata(file.trim_end_matches('\n'))
        {
            self.add(&about);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn an_input_is_known_under_each_of_its_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("kernel/dtb")).expect("folders");
        for file in ["a", "b", "kernel/dtb/c"] {
            fs::write(at(file), "").expect("a file");
        }
        fs::hard_link(at("a"), at("hard")).expect("a link");
        symlink("a", at("soft")).expect("a link");
        symlink("b", at("to b")).expect("a link");
        symlink("none", at("dangling")).expect("a link");
        let inputs = [at("a"), at("kernel")];
        let inputs: Vec<_> = inputs.iter().map(PathBuf::as_path).collect();
        for name in ["a", "hard", "soft", "kernel/dtb/c"] {
            let error = place(&at(name), &inputs).expect_err(name);
            assert!(matches!(error, OutputError::Input { .. }), "{error}");
        }
        for (name, found) in [("b", "b"), ("to b", "b"), ("new", "new")] {
            let place = place(&at(name), &inputs).expect("a place");
            let folder = place.parent().and_then(|path| path.canonicalize().ok());
            assert_eq!(folder, folder_of(&at(found)), "{name}");
            assert_eq!(place.file_name(), Some(found.as_ref()));
        }
        let error = place(&at("none/new"), &inputs).expect_err("no folder");
        assert!(matches!(error, OutputError::NoFolder(_)), "{error}");
        let error = place(&at("dangling"), &inputs).expect_err("a link to nothing");
        assert!(matches!(error, OutputError::Dangling(_)), "{error}");
        for path in [folder.path(), Path::new("/dev/null")] {
            let error = place(path, &inputs).expect_err("not a file");
            assert!(matches!(error, OutputError::NotFile(_)), "{error}");
        }
    }

    fn folder_of(path: &Path) -> Option<PathBuf> {
        path.parent()?.canonicalize().ok()
    }
}
