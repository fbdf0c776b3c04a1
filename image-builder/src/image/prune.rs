//! `gild image prune`: removes old images from a folder.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use gild_format::release::signature_of;
use gild_format::{ImageId, Manifest};

use super::kept::{Kept, Shelf};
use super::ordered::Ordered;
use super::release::{ABOUT, Folder, Names, unfinished};
use super::size;

/// Arguments of `gild image prune`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that `gild image build`, `pack` or `publish` wrote to, or a mounted share
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Keep the current image of each board, those of its channels, those that orders of the desk name, and this many others, those with the highest rollback counters
    #[arg(long, value_name = "N")]
    keep: usize,
    /// Remove them; without this the command only shows what it would remove
    #[arg(long)]
    yes: bool,
}

/// Runs `gild image prune`.
pub fn run(args: &Args) -> Result<()> {
    let shelves = Shelf::all(&args.folder)?;
    let ordered = Ordered::beside(&args.folder)?;
    // All is judged before anything is removed.
    let mut old = Vec::new();
    for shelf in &shelves {
        old.extend(too_old(shelf, args.keep, &ordered)?.map(|image| (&shelf.path, image)));
    }
    for shelf in &shelves {
        tidy(&shelf.path, args.yes)?;
    }
    for (path, image) in &old {
        if args.yes {
            remove(&args.folder, path, &image.image_id).with_context(|| {
                format!(
                    "cannot remove image {} from {}; next: correct that, and run this again",
                    image.image_id,
                    path.display()
                )
            })?;
        }
        println!("{}  {}", image.image_id, size::shown(stored_bytes(image)));
    }
    let freed = old.iter().map(|(_, image)| stored_bytes(image)).sum();
    let freed = size::shown(freed);
    match (old.len(), args.yes) {
        (0, _) => log::info!("there is no image to remove"),
        (count, true) => log::info!("removed {freed}: {count} of the images"),
        (count, false) => {
            log::info!("would remove {freed}: {count} of the images; next: add --yes");
        }
    }
    Ok(())
}

/// Removes what a gild that was killed has left.
fn tidy(path: &Path, yes: bool) -> Result<()> {
    let left = unfinished(path).with_context(|| format!("cannot read {}", path.display()))?;
    if left.is_empty() {
        return Ok(());
    }
    if yes {
        // The next gild that opens the folder removes it.
        Folder::open(path)?;
        return Ok(());
    }
    for file in left {
        log::info!(
            "would remove {} ({}), unless a gild is writing it; next: add --yes",
            file.path.display(),
            size::shown(file.length)
        );
    }
    Ok(())
}

/// The images to remove. An image that cannot be understood stays.
fn too_old<'a>(
    shelf: &'a Shelf,
    keep: usize,
    ordered: &Ordered,
) -> Result<impl Iterator<Item = &'a Kept>> {
    ensure!(
        shelf.images.iter().any(|image| image.is_current),
        "{} has no current image, or golden.json cannot be read or names an image that is not there, and nothing was removed; next: make one current with `gild image current`",
        shelf.path.display()
    );
    let lost = shelf
        .channels
        .iter()
        .find(|(_, manifest)| manifest.is_none());
    ensure!(
        lost.is_none(),
        "{} cannot be read or is for another board, so that nobody knows which image it keeps, and nothing was removed; next: give that \
         channel an image with `gild image current --channel`, or remove the file and its .minisig",
        shelf.path.join(lost.map_or("", |(name, _)| name)).display()
    );
    for image in shelf.images.iter().filter(|image| image.manifest.is_err()) {
        log::warn!(
            "image {} stays: {}",
            image.image_id,
            image.problem().unwrap_or_default()
        );
    }
    let mut others = Vec::new();
    for image in &shelf.images {
        if is_in_use(image) || image.manifest.is_err() {
            continue;
        }
        match ordered.by(&image.image_id) {
            Some(order) => log::info!(
                "image {} stays, because the order {order} names it",
                image.image_id
            ),
            None => others.push(image),
        }
    }
    // A damaged image is of no use, and must not count among the images to keep.
    let (whole, broken): (Vec<&Kept>, Vec<&Kept>) =
        others.into_iter().partition(|image| image.is_whole);
    Ok(whole.into_iter().skip(keep).chain(broken))
}

/// Whether nodes are given it without asking for its id.
fn is_in_use(image: &Kept) -> bool {
    image.is_current || !image.channels.is_empty()
}

fn stored_bytes(image: &Kept) -> u64 {
    let manifest = image.manifest.as_ref().ok();
    manifest.map_or(0, |manifest| manifest.stored_size)
}

/// The manifest goes last: after a power cut the rest is still recognized as an image, and removed the next time.
fn remove(images: &Path, path: &Path, image_id: &ImageId) -> Result<()> {
    let folder = Folder::open(path)?;
    // Not every share has locks: another gild may have made it current. Nor does an order wait for this.
    let shelf = Shelf::read(path)?;
    let is_this = |manifest: &Manifest| manifest.image_id == image_id.as_str();
    ensure!(
        shelf.current.is_some_and(|current| !is_this(&current)),
        "it is the current image now, or there is none"
    );
    let mut channels = shelf.channels.values();
    ensure!(
        channels.all(|has| has.as_ref().is_some_and(|has| !is_this(has))),
        "a channel has it now"
    );
    ensure!(
        Ordered::beside(images)?.by(image_id).is_none(),
        "an order names it now"
    );
    let names = Names::of(image_id.as_str());
    let about = ABOUT.map(|ending| format!("{image_id}.{ending}"));
    let files = [names.stored, names.bmap, names.sums]
        .into_iter()
        .chain(about);
    for name in files {
        remove_file(&path.join(name))?;
    }
    folder.sync()?;
    remove_file(&path.join(signature_of(&names.manifest)))?;
    remove_file(&path.join(&names.manifest))?;
    folder.sync()
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}
