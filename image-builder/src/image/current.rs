//! `gild image current`: another image of a folder becomes the one that nodes get.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use gild_format::{ImageId, Manifest};

use super::kept::Shelf;
use super::pack::check_counter;
use super::publish::digest;
use super::release::{Folder, PUBLISH_AGAIN, Signed};
use crate::key::Signer;
use crate::source_date;

/// Arguments of `gild image current`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that `gild image build`, `pack` or `publish` wrote to, or a mounted share
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Id of the image, as `gild image list` shows it
    #[arg(value_name = "IMAGE")]
    image_id: ImageId,
    /// Secret key; with it an older image is signed again with a higher rollback counter, so that nodes take it
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// Runs `gild image current`.
pub fn run(args: &Args) -> Result<()> {
    let id = &args.image_id;
    let key = args.key.as_deref().map(Signer::read).transpose()?;
    let shelves = Shelf::all(&args.folder)?;
    let path = &Shelf::with(&shelves, &args.folder, id)?.path;
    // What others see of the folder may have changed before the lock was there.
    let folder = Folder::open(path)?;
    let shelf = Shelf::read(path)?;
    make_current(&folder, &shelf, id, key.as_ref())
        .with_context(|| format!("cannot make image {id} the current one"))?;
    println!("{id}");
    Ok(())
}

fn make_current(folder: &Folder, shelf: &Shelf, id: &ImageId, key: Option<&Signer>) -> Result<()> {
    let signed = folder
        .existing(id.as_str())?
        .with_context(|| format!("{} has no manifest of it any more", folder.path().display()))?;
    // Whoever writes to the share must not get another manifest signed.
    let public_key = key.map(Signer::public).transpose()?;
    let manifest = signed.check(public_key.as_ref())?;
    ensure!(
        !signed.signature.is_empty(),
        "its signature is lost; next: {PUBLISH_AGAIN}"
    );
    let stored = folder.path().join(&manifest.stored_file);
    let found = digest(&stored)?;
    ensure!(
        found == manifest.stored_sha256,
        "{} has SHA-256 {found}, its manifest says {}; next: {PUBLISH_AGAIN}",
        stored.display(),
        manifest.stored_sha256
    );
    let highest = shelf.highest_counter();
    if manifest.rollback_counter >= highest {
        return folder.set_current(&signed);
    }
    let Some(key) = key else {
        bail!(
            "its rollback counter {} is lower than {highest}, which another image here has, so nodes that have started that one refuse it \
             (fault 4), and nothing was changed; next: give --key, so that it is signed again with a higher counter",
            manifest.rollback_counter
        );
    };
    let manifest = Manifest {
        rollback_counter: highest.saturating_add(1),
        ..manifest
    };
    check_counter(manifest.rollback_counter, source_date::now()?)?;
    let bytes = manifest.to_json();
    let signed = Signed {
        signature: key.sign(&bytes, &format!("gild image {id}"))?,
        manifest: bytes,
    };
    folder.put_manifest(&manifest, &signed)?;
    folder.set_current(&signed)?;
    log::info!(
        "image {id} is signed again, with the rollback counter {}",
        manifest.rollback_counter
    );
    Ok(())
}
