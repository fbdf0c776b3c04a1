//! `gild image publish`: copies a packed set to a mounted share.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use gild_format::release::GOLDEN;
use gild_format::signature::PublicKey;
use gild_format::{ImageId, Manifest, Sha256Hex};
use gild_inspect::Lack;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use sha2::{Digest, Sha256};

use super::kept::Shelf;
use super::release::{self, Folder, PUBLISH_AGAIN, Signed, check_id};
use super::verify;
use crate::input::must_be_regular;
use crate::progress::Progress;
use crate::published::Place;

/// Arguments of `gild image publish`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that `gild image build` or `pack` wrote to: the folder of `--output`, or a board's folder in it
    #[arg(value_name = "DIR")]
    from: PathBuf,
    /// Folder where the share is mounted
    #[arg(long, value_name = "SHARE")]
    to: PathBuf,
    /// Public key, as a file or as its line; without it the signature is not checked
    #[arg(long, value_name = "PUB")]
    key: Option<String>,
}

/// Runs `gild image publish`.
pub fn run(args: &Args) -> Result<()> {
    let key = args.key.as_deref().map(verify::read_key).transpose()?;
    // Not created: an unmounted share would be written to the workstation's own disk.
    ensure!(
        args.to.is_dir(),
        "{} is not a folder; next: see that the share is mounted there",
        args.to.display()
    );
    let name = args.to.file_name().and_then(|name| name.to_str());
    ensure!(
        !gild_boards::all()
            .iter()
            .any(|board| Some(&*board.name) == name),
        "{} is a board's folder; next: give the folder above it, where nodes look for their board's folder",
        args.to.display()
    );
    for from in release::folders(&args.from)? {
        let image_id = publish(&from, &args.to, key.as_ref())
            .with_context(|| format!("cannot publish {}", from.display()))?;
        println!("{image_id}");
    }
    Ok(())
}

fn publish(from: &Path, share: &Path, key: Option<&PublicKey>) -> Result<String> {
    let signed = Signed::read(&Place::Folder(from.to_owned()), GOLDEN)?;
    let manifest = signed.check(key)?;
    let folder = Folder::open(&share.join(&manifest.board))?;
    check_id(&ImageId::parse(&manifest.image_id)?)?;
    let (manifest, signed) = match folder.existing(&manifest.image_id)? {
        Some(existing) if existing.manifest != signed.manifest => {
            the_higher_counter((manifest, signed), existing, key, folder.path())?
        }
        _ => (manifest, signed),
    };
    warn_of_lower_counter(&manifest, &Shelf::read(folder.path())?);
    warn_of_lacks(&manifest, from);
    put_stored(&manifest, from, &folder)?;
    for ending in release::ABOUT {
        let name = format!("{}.{ending}", manifest.image_id);
        match fs::read(from.join(&name)) {
            Ok(bytes) => folder.put(folder.stage_bytes(&bytes)?, &name)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {name}")),
        }
    }
    folder.put_manifest(&manifest, &signed)?;
    folder.set_current(&signed)?;
    folder.warn_if_closed();
    Ok(manifest.image_id)
}

/// An image that `gild image current` has signed again, here or there, has two manifests, which differ in the counter alone.
fn the_higher_counter(
    (manifest, signed): (Manifest, Signed),
    existing: Signed,
    key: Option<&PublicKey>,
    share: &Path,
) -> Result<(Manifest, Signed)> {
    let id = &manifest.image_id;
    let found = existing.check(None);
    let found = found.ok().filter(|found| {
        let rollback_counter = manifest.rollback_counter;
        let same = Manifest {
            rollback_counter,
            ..found.clone()
        };
        same == manifest
    });
    let Some(found) = found else {
        bail!(
            "image id {id} exists in {} with other content, nothing was changed; next: pack it with another --id",
            share.display()
        );
    };
    if found.rollback_counter < manifest.rollback_counter {
        return Ok((manifest, signed));
    }
    ensure!(
        key.is_some(),
        "image {id} was signed again in {}, with the rollback counter {}, and nothing was changed; next: give --key, so that this is checked",
        share.display(),
        found.rollback_counter
    );
    match existing.check(key) {
        Ok(_) => Ok((found, existing)),
        // A power cut, or a person who cannot sign.
        Err(_) => Ok((manifest, signed)),
    }
}

fn warn_of_lower_counter(manifest: &Manifest, shelf: &Shelf) {
    let (id, counter) = (&manifest.image_id, manifest.rollback_counter);
    let highest = shelf.manifests().max_by_key(|other| other.rollback_counter);
    if let Some(other) = highest.filter(|other| other.rollback_counter > counter) {
        log::warn!(
            "image {id} has the rollback counter {counter}, lower than {} of image {}: nodes that have started that one refuse it \
             (fault 4); next: gild image current {} {id} --key site.key",
            other.rollback_counter,
            other.image_id,
            shelf.path.display()
        );
    }
}

/// Warns now: an image that lacks something makes nodes that lack it too.
fn warn_of_lacks(manifest: &Manifest, from: &Path) {
    let report = fs::read(from.join(format!("{}.inspection.json", manifest.image_id)));
    // What `pack` alone made has no report.
    let report: serde_json::Value = report
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    for lack in report["lacks"].as_array().into_iter().flatten() {
        // If this gild does not know a lack, the gild that built the image has reported it.
        if let Ok(lack) = serde_json::from_value::<Lack>(lack.clone()) {
            log::warn!("image {} is {lack}", manifest.image_id);
        }
    }
}

/// Copies the stored image, and gives the copy its name only after it was read back.
fn put_stored(manifest: &Manifest, from: &Path, folder: &Folder) -> Result<()> {
    let target = folder.path().join(&manifest.stored_file);
    if target.is_file() && digest(&target)? == manifest.stored_sha256 {
        log::info!("{} is there already", target.display());
        return Ok(());
    }
    let source = from.join(&manifest.stored_file);
    let mut progress = Progress::new("publish", manifest.stored_size);
    let mut staged = folder.stage()?;
    let mut write = |bytes: &[u8]| {
        progress.add(bytes.len() as u64);
        staged
            .file()
            .write_all(bytes)
            .with_context(|| format!("cannot write to {}", folder.path().display()))
    };
    let found = read_through(&source, &mut write)?;
    ensure!(
        found == manifest.stored_sha256,
        "{} has SHA-256 {found}, its manifest says {}: pack it again",
        source.display(),
        manifest.stored_sha256
    );
    let staged = staged
        .finish()
        .with_context(|| format!("cannot write to {}", folder.path().display()))?;
    // From the share itself, as far as the kernel lets its cache go.
    posix_fadvise(staged.file(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    let found = digest(staged.path())?;
    ensure!(
        found == manifest.stored_sha256,
        "the copy in {} reads back with SHA-256 {found}, not {}: check the share",
        folder.path().display(),
        manifest.stored_sha256
    );
    folder.put(staged, &manifest.stored_file)
}

/// The digest of a stored image.
pub fn digest(path: &Path) -> Result<Sha256Hex> {
    read_through(path, &mut |_| Ok(()))
}

/// Reads a file once, hands its bytes on and gives their digest.
fn read_through(path: &Path, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<Sha256Hex> {
    must_be_regular(path, "the stored image", PUBLISH_AGAIN)?;
    let context = || format!("cannot read {}", path.display());
    let mut file: File = fs::File::open(path).with_context(context)?;
    let mut buffer = vec![0; 1 << 20];
    let mut hasher = Sha256::new();
    loop {
        let length = file.read(&mut buffer).with_context(context)?;
        if length == 0 {
            return Ok(Sha256Hex(hasher.finalize().into()));
        }
        hasher.update(&buffer[..length]);
        take(&buffer[..length])?;
    }
}
