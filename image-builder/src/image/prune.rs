//! `gild image prune`: old images leave a folder.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use gild_format::release::signature_of;

use super::kept::{Kept, Shelf};
use super::release::{ABOUT, Folder, Names};

/// Arguments of `gild image prune`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that `gild image build`, `pack` or `publish` wrote to, or a mounted share
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Keep the current image of each board, and so many others: those with the highest rollback counters
    #[arg(long, value_name = "N")]
    keep: usize,
    /// Remove them; without this the command only shows what it would remove
    #[arg(long)]
    yes: bool,
}

/// Runs `gild image prune`.
pub fn run(args: &Args) -> Result<()> {
    let mut freed = 0;
    let mut removed = 0;
    for shelf in Shelf::all(&args.folder)? {
        let folder = Folder::open(&shelf.path)?;
        let shelf = Shelf::read(&shelf.path)?;
        for image in too_old(&shelf, args.keep)? {
            let mebibytes = stored_bytes(image).div_ceil(1 << 20);
            if args.yes {
                remove(folder.path(), &image.image_id).with_context(|| {
                    format!(
                        "cannot remove image {} from {}",
                        image.image_id,
                        shelf.path.display()
                    )
                })?;
                folder.sync()?;
            }
            println!("{}  {mebibytes} MiB", image.image_id);
            freed += mebibytes;
            removed += 1;
        }
    }
    if args.yes {
        log::info!("{removed} images removed, {freed} MiB");
    } else if removed > 0 {
        log::info!(
            "{removed} images of {freed} MiB would be removed, nothing was; next: add --yes"
        );
    } else {
        log::info!("there is nothing to remove");
    }
    Ok(())
}

/// The images to remove. One that cannot be understood stays.
fn too_old(shelf: &Shelf, keep: usize) -> Result<Vec<&Kept>> {
    ensure!(
        shelf.images.iter().any(|image| image.is_current),
        "{} has no current image, or golden.json cannot be read, and nothing was removed; next: make one current with `gild image current`",
        shelf.path.display()
    );
    for image in shelf.images.iter().filter(|image| image.manifest.is_err()) {
        log::warn!(
            "image {} stays: {}",
            image.image_id,
            image.problem().unwrap_or_default()
        );
    }
    let others = shelf.images.iter();
    let others = others.filter(|image| !image.is_current && image.manifest.is_ok());
    // One that is not whole is of no use to anybody, and takes the place of none that is.
    let (whole, broken): (Vec<&Kept>, Vec<&Kept>) = others.partition(|image| image.is_whole);
    Ok(whole.into_iter().skip(keep).chain(broken).collect())
}

fn stored_bytes(image: &Kept) -> u64 {
    let manifest = image.manifest.as_ref().ok();
    manifest.map_or(0, |manifest| manifest.stored_size)
}

/// The manifest goes last: what a power cut leaves is still known for an image, and removed the next time.
fn remove(folder: &Path, image_id: &str) -> Result<()> {
    let names = Names::of(image_id);
    let about = ABOUT.map(|ending| format!("{image_id}.{ending}"));
    let files = [names.stored, names.bmap, names.sums]
        .into_iter()
        .chain(about)
        .chain([signature_of(&names.manifest), names.manifest]);
    for name in files {
        match fs::remove_file(folder.join(&name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).context(name),
            _ => {}
        }
    }
    Ok(())
}
