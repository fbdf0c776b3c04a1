//! `gild image current`: makes another image of a folder the one for the nodes, or the one of a channel.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use gild_format::release::{GOLDEN, channel_manifest};
use gild_format::signature::PublicKey;
use gild_format::{ImageId, Manifest};
use gild_orders::{CHANNEL_RULE, Channel};

use super::kept::Shelf;
use super::pack::is_counter_of_today;
use super::publish::digest;
use super::release::{Folder, Names, PUBLISH_AGAIN, Signed};
use crate::key::Signer;
use crate::published::Place;
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
    /// Make it the image of this channel instead, `canary` for example: nodes get it when a signed order names the channel
    #[arg(long, value_name = "NAME", value_parser = channel)]
    channel: Option<Channel>,
}

fn channel(text: &str) -> Result<Channel, String> {
    Channel::parse(text).ok_or_else(|| format!("a channel has {CHANNEL_RULE}"))
}

/// Runs `gild image current`.
pub fn run(args: &Args) -> Result<()> {
    let id = &args.image_id;
    let key = args.key.as_deref().map(Signer::read).transpose()?;
    if key.is_none() {
        log::warn!("the signature is NOT checked: give --key");
    }
    let shelves = Shelf::all(&args.folder)?;
    let path = &Shelf::with(&shelves, &args.folder, id)?.path;
    let folder = Folder::open(path)?;
    // Another gild may have written before the lock was there.
    let shelf = Shelf::read(path)?;
    let name = match &args.channel {
        Some(channel) => channel_manifest(channel.as_str()),
        None => GOLDEN.to_owned(),
    };
    make_current(&folder, &shelf, id, &name, key.as_ref()).with_context(|| {
        let what = match &args.channel {
            Some(channel) => format!("that of the channel {}", channel.as_str()),
            None => "the current one".to_owned(),
        };
        format!("cannot make image {id} {what}")
    })?;
    println!("{id}");
    Ok(())
}

/// Makes the manifest of this name lead to the image.
fn make_current(
    folder: &Folder,
    shelf: &Shelf,
    id: &ImageId,
    name: &str,
    key: Option<&Signer>,
) -> Result<()> {
    let public_key = key.map(Signer::public).transpose()?;
    let counters = Counters::read(folder, shelf, public_key.as_ref());
    let highest = counters.highest;
    let signed = folder.existing(id.as_str())?.with_context(|| {
        format!(
            "{} does not have its manifest any more; next: {PUBLISH_AGAIN}",
            folder.path().display()
        )
    })?;
    let (manifest, signed) = checked(signed, public_key.as_ref(), highest)?;
    // These bytes are signed, so they must belong to the requested image.
    ensure!(
        manifest.image_id == id.as_str(),
        "its manifest belongs to image {}; next: {PUBLISH_AGAIN}",
        manifest.image_id
    );
    counters.check()?;
    check_stored(folder, &manifest)?;
    if manifest.rollback_counter >= highest {
        let current = folder.led_to(name).ok();
        if key.is_none() && current.is_some_and(|current| current.manifest == signed.manifest) {
            return Ok(());
        }
        // Puts back what a power cut has left behind half.
        folder.put_manifest(&manifest, &signed)?;
        return folder.lead_to(name, &signed);
    }
    let Some(key) = key else {
        bail!(
            "its rollback counter {} is lower than {highest}, which another image here has, so nodes that have started that one refuse it \
             (fault 4), and nothing was changed; next: give --key, so that it is signed again with a higher counter",
            manifest.rollback_counter
        );
    };
    let manifest = with_counter(&manifest, highest.saturating_add(1));
    let (counter, now) = (manifest.rollback_counter, source_date::now()?);
    ensure!(
        is_counter_of_today(counter, now),
        "an image here has the rollback counter {highest}, more than a day ahead of this machine's clock ({now}), and nothing was \
         changed; next: correct the clock, or take that image off the share"
    );
    let bytes = manifest.to_json();
    let signed = Signed {
        signature: key.sign(&bytes, &format!("gild image {id}"))?,
        manifest: bytes,
    };
    folder.put_manifest(&manifest, &signed)?;
    folder.lead_to(name, &signed)?;
    log::info!("image {id} is signed again, with the rollback counter {counter}");
    Ok(())
}

fn with_counter(manifest: &Manifest, rollback_counter: u64) -> Manifest {
    Manifest {
        rollback_counter,
        ..manifest.clone()
    }
}

/// The rollback counters of a folder. Anybody can write a number to a share, so with a key only the counters that it has
/// signed count.
struct Counters {
    highest: u64,
    /// The highest counter that the key has not signed. Nodes may still have it, if another key has signed it.
    highest_of_others: u64,
    others: Vec<String>,
}

impl Counters {
    fn read(folder: &Folder, shelf: &Shelf, key: Option<&PublicKey>) -> Self {
        let place = Place::Folder(folder.path().to_owned());
        let is_signed = |name: &str| {
            let signed = || Signed::read(&place, name).and_then(|signed| signed.check(key));
            key.is_none() || signed().is_ok()
        };
        let current = shelf
            .current
            .iter()
            .map(|current| (GOLDEN.to_owned(), current));
        let channels = shelf.channels.iter();
        let channels =
            channels.filter_map(|(name, manifest)| Some((name.clone(), manifest.as_ref()?)));
        let images = shelf.images.iter().filter_map(|image| {
            let name = Names::of(image.image_id.as_str()).manifest;
            Some((name, image.manifest.as_ref().ok()?))
        });
        let mut counters = Self {
            highest: 0,
            highest_of_others: 0,
            others: Vec::new(),
        };
        for (name, manifest) in current.chain(channels).chain(images) {
            let counter = manifest.rollback_counter;
            if is_signed(&name) {
                counters.highest = counters.highest.max(counter);
            } else {
                counters.highest_of_others = counters.highest_of_others.max(counter);
                counters.others.push(name);
            }
        }
        counters
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.highest_of_others <= self.highest,
            "a rollback counter here is {}, and this key has not signed it: {}; nothing was changed; next: take off the share what is not yours, \
             or sign it with this key (`gild image pack --key`)",
            self.highest_of_others,
            self.others.join(", ")
        );
        Ok(())
    }
}

/// The manifest, if it is signed with this key. A power cut may have left the signature of the same manifest with a higher counter
/// beside it: then this function returns that one.
fn checked(signed: Signed, key: Option<&PublicKey>, highest: u64) -> Result<(Manifest, Signed)> {
    ensure!(
        !signed.signature.is_empty(),
        "its signature is lost; next: {PUBLISH_AGAIN}"
    );
    let Some(key) = key else {
        return Ok((signed.check(None)?, signed));
    };
    match signed.check(Some(key)) {
        Ok(manifest) => Ok((manifest, signed)),
        Err(error) => {
            let manifest = with_counter(&signed.check(None)?, highest.saturating_add(1));
            let raised = Signed {
                manifest: manifest.to_json(),
                signature: signed.signature,
            };
            if raised.check(Some(key)).is_ok() {
                return Ok((manifest, raised));
            }
            Err(error.context(format!(
                "its manifest is not one that this key has signed; next: {PUBLISH_AGAIN}, or give the key that signed it"
            )))
        }
    }
}

fn check_stored(folder: &Folder, manifest: &Manifest) -> Result<()> {
    let stored = folder.path().join(&manifest.stored_file);
    log::info!("reading {}", stored.display());
    let found = digest(&stored)?;
    ensure!(
        found == manifest.stored_sha256,
        "{} has SHA-256 {found}, its manifest says {}; next: {PUBLISH_AGAIN}",
        stored.display(),
        manifest.stored_sha256
    );
    Ok(())
}
