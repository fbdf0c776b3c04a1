//! `gild image diff`: compares the packages and the files of two images of a folder.

mod packages;
mod stored;
mod summary;
mod text;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow};
use gild_format::signature::PublicKey;
use gild_format::{ImageId, Manifest};
use gild_inspect::{Differences, Disk, Which};
use serde_json::json;

use super::kept::Shelf;
use super::release::{Names, PUBLISH_AGAIN, Signed};
use super::verify::read_key;
use crate::progress::Progress;
use crate::published::Place;
use stored::{Kept, Stored};
use summary::Summary;

/// Arguments of `gild image diff`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that `gild image build`, `pack` or `publish` wrote to, or a mounted share
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Id of the one image, as `gild image list` shows it
    #[arg(value_name = "OLD")]
    old: ImageId,
    /// Id of the other image
    #[arg(value_name = "NEW")]
    new: ImageId,
    /// Compare only the packages, by the lists that `gild image build` wrote, which are not signed
    #[arg(long, conflicts_with = "files")]
    packages: bool,
    /// Compare only the files
    #[arg(long)]
    files: bool,
    /// Public key, as a file or as its line; without it the signatures are not checked
    #[arg(long, value_name = "PUB")]
    key: Option<String>,
    /// Print JSON: one object with all that differs
    #[arg(long)]
    json: bool,
}

/// Runs `gild image diff`.
pub fn run(args: &Args) -> Result<()> {
    let key = args.key.as_deref().map(read_key).transpose()?;
    if key.is_none() && !args.packages {
        log::warn!("the signatures are NOT checked: give --key");
    }
    let shelves = Shelf::all(&args.folder)?;
    let find = |id| Image::find(&shelves, &args.folder, id, key.as_ref());
    let (old, new) = (find(&args.old)?, find(&args.new)?);
    let boards = [&old, &new].map(|image| &image.manifest.board);
    if boards[0] != boards[1] {
        log::warn!(
            "image {} is for {}, and image {} for {}: what only one of the boards needs is in the list too",
            args.old,
            boards[0],
            args.new,
            boards[1]
        );
    }
    for image in [&old, &new] {
        let partitions = image.manifest.partitions.len();
        if partitions > 2 && !args.packages {
            log::warn!(
                "image {} has {partitions} partitions: gild compares the files of the first two",
                image.id
            );
        }
    }
    let packages = if args.files {
        None
    } else {
        let places = (&old.folder, &new.folder);
        Some(packages::differences(
            (places.0, &args.old),
            (places.1, &args.new),
        )?)
    };
    let files = if args.packages {
        None
    } else {
        Some(files(&old, &new)?)
    };
    let summary = Summary {
        packages: packages.as_deref().map(summary::Packages::of),
        files: files.as_deref().map(summary::Files::of),
    };
    if args.json {
        let image = |image: &Image| json!({"image_id": image.id, "board": image.manifest.board});
        let all = json!({
            "old": image(&old),
            "new": image(&new),
            "packages": packages,
            "files": files,
            "summary": summary,
        });
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    for package in packages.iter().flatten() {
        println!("{}", text::package(package));
    }
    for line in files.iter().flatten().flat_map(text::partition) {
        println!("{line}");
    }
    println!("{}", text::summary(&summary));
    Ok(())
}

/// One of the two images.
struct Image {
    id: String,
    folder: PathBuf,
    manifest: Manifest,
}

impl Image {
    /// The image of this id, whose manifest this key has signed.
    fn find(
        shelves: &[Shelf],
        folder: &Path,
        id: &ImageId,
        key: Option<&PublicKey>,
    ) -> Result<Self> {
        let shelf = Shelf::with(shelves, folder, id)?;
        let place = Place::Folder(shelf.path.clone());
        let name = Names::of(id.as_str()).manifest;
        let manifest = match key {
            // Others may write to the folder, so it can be another manifest than the one that the shelf has read.
            Some(_) => Signed::read(&place, &name)
                .and_then(|signed| signed.check(key))
                .and_then(|manifest| shelf.is_of(manifest, id)),
            None => shelf.manifest(id),
        };
        let shown = place.shown(&name);
        let manifest = manifest.with_context(|| format!("cannot use {shown}"))?;
        Ok(Self {
            id: id.to_string(),
            folder: shelf.path.clone(),
            manifest,
        })
    }
}

/// What the files of two images differ in.
fn files(old: &Image, new: &Image) -> Result<Vec<Differences>> {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let stored = |image: &Image| -> Result<Arc<Stored>> {
        let stored = Stored::open(&image.folder, image.manifest.clone(), &kept)?;
        Ok(Arc::new(stored))
    };
    let (one, other) = (stored(old)?, stored(new)?);
    let disk = |stored: &Arc<Stored>, image: &Image| Disk {
        storage: Arc::clone(stored) as _,
        length: image.manifest.raw_size,
    };
    let mut progress = None;
    let found = gild_inspect::differences(
        &disk(&one, old),
        &disk(&other, new),
        &|range| one.is_same(&other, &range),
        &mut |bytes, total| {
            let progress = progress.get_or_insert_with(|| Progress::new("compare", total));
            progress.add(bytes);
        },
    );
    found.map_err(|error| {
        let (image, stored) = match error.which {
            Which::Old => (old, &one),
            Which::New => (new, &other),
        };
        let said = format!("cannot read {} of image {}", error.what, image.id);
        match stored.failure() {
            Some(failure) => failure.context(said),
            None => anyhow!("{said}: {}; next: {PUBLISH_AGAIN}", error.source),
        }
    })
}
