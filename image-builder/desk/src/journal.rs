//! What must outlive the program: a file that only grows, with one JSON object in each line. After a power cut the last line may be
//! incomplete. The desk then ignores it: the sender got no answer, and sends it again.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use gild_whole_file::{Unnamed, sync_folder_of};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Only the desk may read the journal, because it names every node.
const MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk, or its rights.
    #[error("{what} {path}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Its folder is not there and cannot be made, or an older desk's journal cannot be moved there.
    #[error(
        "cannot make the folder {folder} for the journal: {error}; next: make it as the user who owns the folder above it, and move journal.jsonl \
         into it if that is there"
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Another program has it.
    #[error(
        "{0} is in use: another `gild serve` runs with this folder; next: stop that one, or give another folder"
    )]
    InUse(PathBuf),
    /// A line that no power cut explains.
    #[error(
        "line {line} of {path} cannot be read: {why}; next: look at that line. Without the file the desk starts with no memory: all doors are closed"
    )]
    Line {
        /// Which, from 1.
        line: usize,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// Makes the journal's folder. A journal that lies beside the folder, as older desks had it, is moved into it.
pub fn settle(path: &Path) -> Result<(), JournalError> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    let old = folder.with_file_name(path.file_name().unwrap_or_default());
    let settle = || {
        if !folder.is_dir() {
            DirBuilder::new().mode(FOLDER_MODE).create(folder)?;
        }
        if old.is_file() && !path.exists() {
            fs::rename(&old, path)?;
            sync_folder_of(path)?;
            sync_folder_of(&old)?;
        }
        Ok(())
    };
    settle().map_err(|error| JournalError::Folder {
        folder: folder.to_owned(),
        error,
    })
}

/// Reads a journal while the desk that writes it may be running. A journal that does not exist has no entries.
pub fn look<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, JournalError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(JournalError::Io {
                what: "cannot read",
                path: path.to_owned(),
                error,
            });
        }
    };
    let (entries, _) = read(&bytes).map_err(|(line, why)| JournalError::Line {
        line,
        path: path.to_owned(),
        why,
    })?;
    Ok(entries)
}

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    /// Whether the file may end in an incomplete line.
    is_torn: bool,
}

impl Journal {
    /// Opens the journal, or makes one, and reads what it has.
    pub fn open<T: DeserializeOwned>(path: &Path) -> Result<(Self, Vec<T>), JournalError> {
        let failed = |what| {
            let path = path.to_owned();
            move |error| JournalError::Io { what, path, error }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(MODE)
            .open(path)
            .map_err(failed("cannot open"))?;
        match file.try_lock() {
            Ok(()) => (),
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(JournalError::InUse(path.to_owned()));
            }
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(failed("cannot lock")(error));
            }
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(failed("cannot read"))?;
        let (entries, length) = read(&bytes).map_err(|(line, why)| JournalError::Line {
            line,
            path: path.to_owned(),
            why,
        })?;
        if length < bytes.len() as u64 {
            log::warn!(
                "{}: the last {} bytes are half a line, which a power cut has left; they are taken out",
                path.display(),
                bytes.len() as u64 - length
            );
            file.set_len(length).map_err(failed("cannot shorten"))?;
        }
        let journal = Self {
            path: path.to_owned(),
            file,
            length,
            is_torn: false,
        };
        Ok((journal, entries))
    }

    /// Length of the file, bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Adds a line. When this returns, the line is on the disk. After an error the journal is as it was before.
    pub fn add(&mut self, entry: &impl Serialize) -> io::Result<()> {
        let line = line(entry)?;
        // An incomplete line would make the line behind it unreadable.
        if self.is_torn {
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::Start(self.length))?;
        }
        self.is_torn = true;
        self.file.write_all(&line)?;
        self.file.sync_data()?;
        self.is_torn = false;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Replaces the whole journal by a shorter one with the same meaning.
    pub fn replace<T: Serialize>(&mut self, entries: impl Iterator<Item = T>) -> io::Result<()> {
        let mut new = Unnamed::beside(&self.path)?;
        new.file().set_permissions(Permissions::from_mode(MODE))?;
        for entry in entries {
            new.file().write_all(&line(&entry)?)?;
        }
        let finished = new.finish()?;
        // The file is locked before it gets its name, so that no other program can lock it in between.
        let mut file = finished.file().try_clone()?;
        file.try_lock()?;
        let length = file.seek(SeekFrom::End(0))?;
        finished.put(&self.path)?;
        // From here on the old file has no name, and anything added to it would be lost.
        (self.file, self.length, self.is_torn) = (file, length, false);
        sync_folder_of(&self.path)
    }
}

fn line(entry: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    Ok(line)
}

/// The entries, and the total length of the complete lines.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<(Vec<T>, u64), (usize, String)> {
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let lines = bytes[..whole].split_inclusive(|byte| *byte == b'\n');
    let entries = lines.enumerate().map(|(number, line)| {
        serde_json::from_slice(line).map_err(|error| (number + 1, error.to_string()))
    });
    Ok((entries.collect::<Result<_, _>>()?, whole as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> (Journal, Vec<u32>) {
        Journal::open(path).expect("a journal")
    }

    #[test]
    fn what_was_added_is_there_when_it_is_opened_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let (mut journal, entries) = open(&path);
        assert_eq!(entries, [] as [u32; 0]);
        for entry in [1, 2] {
            journal.add(&entry).expect("added");
        }
        drop(journal);
        let (mut journal, entries) = open(&path);
        assert_eq!(entries, [1, 2]);
        journal.add(&3).expect("added");
        drop(journal);
        assert_eq!(open(&path).1, [1, 2, 3]);
    }

    #[test]
    fn half_a_line_at_the_end_is_taken_out_and_one_in_the_middle_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        std::fs::write(&path, "1\n2\n{\"a\":").expect("written");
        let (mut journal, entries) = open(&path);
        assert_eq!(entries, [1, 2]);
        journal.add(&3).expect("added");
        drop(journal);
        assert_eq!(open(&path).1, [1, 2, 3]);
        std::fs::write(&path, "1\nx\n3\n").expect("written");
        let error = Journal::open::<u32>(&path).expect_err("a broken line");
        assert!(error.to_string().starts_with("line 2 of "), "{error}");
        assert_eq!(std::fs::read(&path).expect("the file"), b"1\nx\n3\n");
    }

    #[test]
    fn one_program_at_a_time_has_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let (mut journal, _) = open(&path);
        journal.add(&1).expect("added");
        let is_in_use = || matches!(Journal::open::<u32>(&path), Err(JournalError::InUse(_)));
        assert!(is_in_use());
        journal.replace([7, 8].into_iter()).expect("replaced");
        assert!(is_in_use(), "the new file too");
        journal.add(&9).expect("added");
        drop(journal);
        assert_eq!(open(&path).1, [7, 8, 9]);
    }

    /// Every write to `/dev/full` fails as on a full disk.
    #[test]
    fn a_full_disk_is_an_error_and_loses_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let (mut journal, _) = open(&path);
        journal.add(&1).expect("added");
        let full = File::options().write(true).open("/dev/full");
        let good = std::mem::replace(&mut journal.file, full.expect("a device"));
        assert!(journal.add(&2).is_err());
        assert!(journal.add(&2).is_err(), "and it goes on being one");
        journal.file = good;
        // On a full disk the first part of a line may still fit.
        journal.file.write_all(b"{\"half\"").expect("written");
        journal.add(&3).expect("added");
        drop(journal);
        assert_eq!(open(&path).1, [1, 3]);
    }
}
