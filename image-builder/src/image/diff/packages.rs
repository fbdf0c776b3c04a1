//! The packages of two images, by the lists that `gild image build` writes beside them. Nobody has signed these lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use gild_format::ImageId;
use serde::{Deserialize, Serialize};

use crate::image::release::{PACKAGES, PUBLISH_AGAIN};
use crate::published::Place;

/// Longest list of packages that is read, in bytes: an image of Debian has some hundred kilobytes.
const MAX_LIST: usize = 64 << 20;

/// A package that differs, and its versions.
#[derive(Debug, Serialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// In the old image, if it is there.
    pub old: Option<String>,
    /// In the new image.
    pub new: Option<String>,
}

/// What is read of an SPDX document.
#[derive(Deserialize)]
struct Document {
    packages: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    /// The image itself, which is listed too, has none.
    #[serde(rename = "versionInfo")]
    version: Option<String>,
}

/// What differs between the lists of two images.
pub fn differences(old: (&Path, &ImageId), new: (&Path, &ImageId)) -> Result<Vec<Package>> {
    let (old, new) = (read(old.0, old.1)?, read(new.0, new.1)?);
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differing = names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name));
    Ok(differing
        .map(|name| Package {
            name: name.clone(),
            old: old.get(name).cloned(),
            new: new.get(name).cloned(),
        })
        .collect())
}

/// Names and versions.
fn read(folder: &Path, id: &ImageId) -> Result<BTreeMap<String, String>> {
    let name = format!("{id}.{PACKAGES}");
    let path = folder.join(&name);
    ensure!(
        path.exists(),
        "image {id} has no list of packages, {}; next: add --files, or give images that `gild image build` made",
        path.display()
    );
    let bytes = Place::Folder(folder.to_owned()).read(&name, MAX_LIST)?;
    let document: Document = serde_json::from_slice(&bytes).with_context(|| {
        format!(
            "{} is not a list of packages; next: {PUBLISH_AGAIN}",
            path.display()
        )
    })?;
    // Two architectures of a package have one name.
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in document.packages {
        if let Some(version) = package.version {
            found.entry(package.name).or_default().insert(version);
        }
    }
    let joined = |versions: BTreeSet<String>| Vec::from_iter(versions).join(", ");
    Ok(found
        .into_iter()
        .map(|(name, versions)| (name, joined(versions)))
        .collect())
}
