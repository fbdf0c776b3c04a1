//! `gild image diff`: compares the packages of two images of a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use gild_format::ImageId;
use serde::Deserialize;

use super::kept::Shelf;
use super::release::{PACKAGES, PUBLISH_AGAIN};
use crate::published::Place;

/// Longest list of packages that is read, in bytes: an image of Debian has some hundred kilobytes.
const MAX_LIST: usize = 64 << 20;

/// Arguments of `gild image diff`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that `gild image build` or `publish` wrote to, or a mounted share
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Id of the one image, as `gild image list` shows it
    #[arg(value_name = "OLD")]
    old: ImageId,
    /// Id of the other image
    #[arg(value_name = "NEW")]
    new: ImageId,
}

/// Runs `gild image diff`.
pub fn run(args: &Args) -> Result<()> {
    let shelves = Shelf::all(&args.folder)?;
    let packages = |id: &ImageId| read(&Shelf::with(&shelves, &args.folder, id)?.path, id);
    let (old, new) = (packages(&args.old)?, packages(&args.new)?);
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        match (old.get(name), new.get(name)) {
            (Some(old), None) => println!("- {name} {old}"),
            (None, Some(new)) => println!("+ {name} {new}"),
            (Some(old), Some(new)) if old != new => println!("  {name} {old} -> {new}"),
            _ => {}
        }
    }
    Ok(())
}

/// What is read of an SPDX document.
#[derive(Deserialize)]
struct Document {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    /// The image itself, which is listed too, has none.
    #[serde(rename = "versionInfo")]
    version: Option<String>,
}

/// Names and versions.
fn read(folder: &Path, id: &ImageId) -> Result<BTreeMap<String, String>> {
    let name = format!("{id}.{PACKAGES}");
    let path = folder.join(&name);
    ensure!(
        path.exists(),
        "image {id} has no list of packages, {}; next: give images that `gild image build` made",
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
    // Nobody has signed the list.
    let plain = |text: &str| text.escape_debug().to_string();
    let joined = |versions: BTreeSet<String>| plain(&Vec::from_iter(versions).join(", "));
    Ok(found
        .into_iter()
        .map(|(name, versions)| (plain(&name), joined(versions)))
        .collect())
}
