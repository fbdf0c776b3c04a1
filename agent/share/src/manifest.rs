//! The signed statement about an image.

use std::time::Duration;

use gild_format::Manifest;
use gild_format::manifest::MAX_MANIFEST_BYTES;
use gild_format::release::{self, signature_of};
use gild_format::signature::{MAX_SIGNATURE_BYTES, PublicKey};

use crate::{Place, ShareError};

/// A manifest that a key has signed which counts.
#[derive(Debug)]
pub struct Signed<'k> {
    /// What it says.
    pub manifest: Manifest,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The key.
    pub key: &'k PublicKey,
}

/// Reads the manifest of this name from one server, with its signature by one of these keys. `fits` says why the reader may not use it.
pub fn manifest<'k>(
    place: &Place,
    name: &str,
    keys: &[&'k PublicKey],
    wait: impl FnMut(Duration),
    fits: impl FnOnce(&Manifest) -> Result<(), String>,
) -> Result<Signed<'k>, ShareError> {
    let refused = |reason| ShareError::Refused {
        name: name.to_owned(),
        server: place.url().to_string(),
        reason,
    };
    let read = || {
        let manifest = place.read_file(name, MAX_MANIFEST_BYTES as u64)?;
        let minisig = place.read_file(&signature_of(name), MAX_SIGNATURE_BYTES as u64)?;
        Ok::<_, ShareError>((manifest, String::from_utf8_lossy(&minisig).into_owned()))
    };
    let (bytes, key) =
        release::read_signed(keys, read, wait)?.map_err(|error| refused(error.to_string()))?;
    let manifest = Manifest::parse(&bytes).map_err(|error| refused(error.to_string()))?;
    fits(&manifest).map_err(refused)?;
    Ok(Signed {
        manifest,
        bytes,
        key,
    })
}
