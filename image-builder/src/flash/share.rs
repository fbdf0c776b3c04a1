//! The published files, on an NFS server or in a folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs};

use anyhow::{Context, Result};
use gild_flash::{FileSource, Source};
use gild_format::Manifest;
use gild_format::manifest::MAX_MANIFEST_BYTES;
use gild_format::release::signature_of;
use gild_format::signature::MAX_SIGNATURE_BYTES;
use gild_nfs::{Backoff, NfsError, NfsUrl, Options, Patience, Reminder};

use super::Refused;
use crate::image::PUBLISH_AGAIN;
use crate::input::must_exist;

/// How often a server is tried that does not answer: a person is waiting.
const ATTEMPTS: u32 = 8;

/// A folder of published files, and the manifest asked for.
pub struct Share {
    place: Place,
    name: String,
}

/// Waits that say so.
struct Waiting {
    backoff: Backoff,
    reminder: Reminder,
}

impl Patience for Waiting {
    fn wait(&self, attempt: u32, error: &NfsError) -> bool {
        log::info!("waiting: {error} (attempt {attempt})");
        self.backoff.wait(attempt, error)
    }

    fn got_on(&self) {
        self.reminder.heard();
    }

    fn waiting(&self, server: &dyn fmt::Display, silent: Duration) {
        if self.reminder.is_due(silent) {
            let seconds = silent.as_secs();
            log::info!("waiting: {server} has not answered for {seconds} s");
        }
    }
}

enum Place {
    Nfs(gild_nfs::Share),
    Folder(PathBuf),
}

impl Share {
    /// Takes the manifest's address apart.
    pub fn open(manifest: &str) -> Result<Self> {
        let no_file = || Refused::manifest(format!("{manifest} does not name a manifest"));
        if !manifest.starts_with("nfs://") {
            let path = Path::new(manifest);
            let name = path.file_name().and_then(|name| name.to_str());
            return Ok(Self {
                place: Place::Folder(path.parent().unwrap_or(Path::new("")).to_owned()),
                name: name.ok_or_else(no_file)?.to_owned(),
            });
        }
        let (url, name) = folder_and_name(manifest)?.ok_or_else(no_file)?;
        let patience = Arc::new(Waiting {
            backoff: Backoff::attempts(ATTEMPTS),
            reminder: Reminder::default(),
        });
        let share = gild_nfs::Share::connect(&url, Options::default(), patience)?;
        Ok(Self {
            place: Place::Nfs(share),
            name,
        })
    }

    /// The manifest's bytes and its signature.
    pub fn manifest(&self) -> Result<(Vec<u8>, String)> {
        let manifest = self.read(&self.name, MAX_MANIFEST_BYTES as u64)?;
        let name = signature_of(&self.name);
        let signature = self.read(&name, MAX_SIGNATURE_BYTES as u64)?;
        let signature = String::from_utf8(signature)
            .map_err(|_| Refused::manifest(format!("{name} is not a text")))?;
        Ok((manifest, signature))
    }

    /// The stored file of an image.
    pub fn image(&self, manifest: &Manifest) -> Result<Box<dyn Source>> {
        let name = &manifest.stored_file;
        Ok(match &self.place {
            Place::Nfs(share) => Box::new(share.open(name)?),
            Place::Folder(folder) => {
                let path = folder.join(name);
                must_exist(&path, "the stored image", PUBLISH_AGAIN)?;
                let source = FileSource::open(&path);
                Box::new(source.with_context(|| format!("cannot read {}", path.display()))?)
            }
        })
    }

    fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        match &self.place {
            Place::Nfs(share) => Ok(share.read_file(name, limit)?),
            Place::Folder(folder) => {
                let path = folder.join(name);
                must_exist(
                    &path,
                    "the file",
                    "give --manifest the golden.json of a published image",
                )?;
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
            }
        }
    }
}

/// The folder that an address names a file in, and the file's name.
fn folder_and_name(address: &str) -> Result<Option<(NfsUrl, String)>, NfsError> {
    let mut url = NfsUrl::parse(address)?;
    let Some((folder, name)) = url.path.rsplit_once('/') else {
        return Ok(None);
    };
    if name.is_empty()
        || address
            .split('?')
            .next()
            .is_some_and(|path| path.ends_with('/'))
    {
        return Ok(None);
    }
    let name = name.to_owned();
    url.path = if folder.is_empty() { "/" } else { folder }.to_owned();
    Ok(Some((url, name)))
}

#[cfg(test)]
mod tests {
    use super::folder_and_name;

    #[test]
    fn an_address_is_taken_apart_into_a_folder_and_a_name() {
        let parts = |address| {
            let parts = folder_and_name(address).expect("an address");
            parts.map(|(url, name)| (url.to_string(), name))
        };
        let expected = |folder: &str, name: &str| Some((folder.to_owned(), name.to_owned()));
        assert_eq!(
            parts("nfs://nas/My Share/a%20b.json?mountport=5"),
            expected("nfs://nas/My%20Share?mountport=5", "a b.json")
        );
        assert_eq!(
            parts("nfs://nas/golden.json"),
            expected("nfs://nas/", "golden.json")
        );
        assert_eq!(parts("nfs://nas/rpi5/"), None);
        assert_eq!(parts("nfs://nas/"), None);
    }
}
