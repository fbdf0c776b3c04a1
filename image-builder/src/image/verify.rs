//! `gild image verify`: checks whether a published set holds what its manifest promises.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use gild_format::chunk::{self, Decoder};
use gild_format::network::{self, NETWORK_LENGTH, NETWORK_OFFSET};
use gild_format::record::{Found, RECORD_LENGTH, RECORD_OFFSET, Record, State};
use gild_format::release::GOLDEN;
use gild_format::signature::PublicKey;
use gild_format::{Manifest, Sha256Hex, manifest_sha256};
use gild_source::Source;
use sha2::{Digest, Sha256};

use super::inspect::{self, Scope};
use super::release::{self, Names, Signed};
use crate::input::{must_be_file, must_exist, text_of};
use crate::parallel;
use crate::progress::Progress;
use crate::published::{Place, ServerArgs, is_address, is_unread};

/// Arguments of `gild image verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder with golden.json, folder that holds the folders of boards, or one manifest: a file, or one on a server (nfs://,
    /// https://, http://)
    #[arg(value_name = "DIR|MANIFEST|URL")]
    path: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Public key, as a file or as its line; without it the signature is not checked
    #[arg(long, value_name = "PUB")]
    key: Option<String>,
    /// Also compare it with this raw image or disk; a disk may be larger
    #[arg(long, value_name = "FILE|BLOCKDEV")]
    raw: Option<PathBuf>,
    /// Also inspect the image: no identity, no secret, and what a node needs (docs/sealed.md)
    #[arg(long)]
    sealed: bool,
    #[command(flatten)]
    scope: Scope,
}

/// Runs `gild image verify`.
pub fn run(args: &Args) -> Result<()> {
    let key = args.key.as_deref().map(read_key).transpose()?;
    if key.is_none() {
        log::warn!("the signature is NOT checked: give --key");
    }
    let manifests = manifests(args)?;
    ensure!(
        args.raw.is_none() || manifests.len() == 1,
        "--raw compares with one image: give the folder of one board"
    );
    for (place, name) in manifests {
        let shown = place.shown(&name);
        let (manifest, digest) = verify(&place, &name, key.as_ref())
            .map_err(|error| judge(error, &shown, "was not checked", "is not sound"))?;
        if let Some(raw) = &args.raw {
            compare(&manifest, digest, raw).map_err(|error| {
                let raw = raw.display().to_string();
                judge(error, &raw, "was not compared", "does not carry the image")
            })?;
        }
        let mut said = format!("image {} is sound", manifest.image_id);
        if let (true, Place::Folder(folder)) = (args.sealed, &place) {
            let report = inspect::sealed(&folder.join(&name), &args.scope)?;
            said += " and sealed";
            for lack in &report.lacks {
                said = format!("{said}, {lack}");
            }
        }
        println!("{shown}: {said}");
    }
    Ok(())
}

/// Each manifest to verify: its folder, and its name.
fn manifests(args: &Args) -> Result<Vec<(Place, String)>> {
    const GIVE: &str =
        "give the folder that `gild image build`, `pack` or `publish` wrote, or a manifest in it";
    let path = Path::new(&args.path);
    if path.is_dir() {
        let folders = release::folders(path)?.into_iter();
        return Ok(folders
            .map(|folder| (Place::Folder(folder), GOLDEN.to_owned()))
            .collect());
    }
    if is_address(&args.path) {
        ensure!(
            !args.sealed,
            "--sealed looks into files on this machine; next: mount the share, or leave it out"
        );
    } else {
        must_exist(path, "the folder or manifest", GIVE)?;
    }
    Ok(vec![Place::of_manifest(&args.path, &args.server)?])
}

const GIVE_A_KEY: &str = "give the public key: a file that ends in .pub, or its second line";

/// Reads a public key from a file, or uses the text itself as the key.
pub fn read_key(text: &str) -> Result<PublicKey> {
    if let Ok(key) = PublicKey::parse(text) {
        return Ok(key);
    }
    must_be_file(Path::new(text), "the public key", GIVE_A_KEY)?;
    let content = text_of(Path::new(text), "the public key")?;
    PublicKey::parse(&content).map_err(|error| {
        let said = format!("cannot use the key {text}: {error}; next: {GIVE_A_KEY}");
        anyhow::Error::new(error).context(said)
    })
}

/// The file of a key that was given as a file and not as its line.
pub fn key_file(text: &str) -> Option<&Path> {
    PublicKey::parse(text).is_err().then(|| Path::new(text))
}

/// One text for data that could not be read, and another for data that was read and is bad.
fn judge(error: anyhow::Error, shown: &str, unread: &str, bad: &str) -> anyhow::Error {
    let verdict = if is_unread(&error) { unread } else { bad };
    error.context(format!("{shown} {verdict}"))
}

/// The manifest and its digest, if the set is sound.
fn verify(place: &Place, name: &str, key: Option<&PublicKey>) -> Result<(Manifest, Sha256Hex)> {
    let signed = Signed::read(place, name)?;
    let manifest = signed.check(key)?;
    let names = Names::of(&manifest.image_id);
    ensure!(
        Signed::read(place, &names.manifest)? == signed,
        "it and {} differ; next: publish the image again",
        names.manifest
    );
    for (name, expected) in release::companions(&manifest, &signed.manifest) {
        let found = place.read(&name, expected.len())?;
        ensure!(
            found == expected.as_bytes(),
            "{name} does not follow from the manifest; next: publish the image again"
        );
    }
    check_stored(
        &manifest,
        &*place.source(&manifest.stored_file, manifest.stored_size)?,
    )?;
    let digest = manifest_sha256(&signed.manifest);
    Ok((manifest, digest))
}

/// Decodes every chunk, and hashes the stored file on the way: it is read once.
fn check_stored(manifest: &Manifest, source: &dyn Source) -> Result<()> {
    let name = &manifest.stored_file;
    let size = source.size();
    ensure!(
        size == manifest.stored_size,
        "{name} has {size} bytes, the manifest says {}",
        manifest.stored_size
    );
    let read = |buffer: &mut [u8], offset: u64| source.read_exact_at(buffer, offset);
    let worker = || {
        let mut decoder = Decoder::new()?;
        let mut raw = Vec::new();
        Ok(move |index: usize| {
            let chunk = &manifest.chunks[index];
            let mut stored = vec![0; chunk.stored_length as usize];
            read(&mut stored, chunk.stored_offset)?;
            raw.resize(chunk.raw_length as usize, 0);
            decoder.decode(chunk, &stored, &mut raw)?;
            ensure!(
                !chunk.hole || chunk::is_zero(&raw),
                "the hole at byte {} has data",
                chunk.raw_offset
            );
            Ok((chunk, stored))
        })
    };
    let mut hasher = Sha256::new();
    let mut position = 0;
    // What lies between frames and after the last one belongs to the file, but to no chunk.
    let hash_gap = |hasher: &mut Sha256, from: u64, to: u64| -> Result<()> {
        let mut gap = vec![0; 1 << 20];
        let mut at = from;
        while at < to {
            let part = usize::try_from(to - at)?.min(gap.len());
            read(&mut gap[..part], at)?;
            hasher.update(&gap[..part]);
            at += part as u64;
        }
        Ok(())
    };
    let frames = manifest
        .chunks
        .iter()
        .map(|chunk| u64::from(chunk.stored_length))
        .sum();
    let mut progress = Progress::new("verify", frames);
    parallel::in_order(manifest.chunks.len(), worker, |(chunk, stored)| {
        hash_gap(&mut hasher, position, chunk.stored_offset)?;
        hasher.update(&stored);
        position = chunk.stored_offset + u64::from(chunk.stored_length);
        progress.add(chunk.stored_length.into());
        Ok(())
    })?;
    hash_gap(&mut hasher, position, size)?;
    let found = Sha256Hex(hasher.finalize().into());
    ensure!(
        found == manifest.stored_sha256,
        "{name} has SHA-256 {found}, the manifest says {}",
        manifest.stored_sha256
    );
    Ok(())
}

/// Compares a raw image or a disk with the manifest, except for the places of the commit record and the network block.
fn compare(manifest: &Manifest, digest: Sha256Hex, path: &Path) -> Result<()> {
    must_be_file(
        path,
        "the raw image",
        "give a raw image, or a disk that carries it",
    )?;
    let context = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(context)?;
    // The end, and not the metadata's length, which is zero for a device.
    let size = file.seek(SeekFrom::End(0)).with_context(context)?;
    // Longer is fine: a disk is longer, and so is a file that was flashed instead of a disk.
    ensure!(
        size >= manifest.raw_size,
        "it has {size} bytes, the image has {}",
        manifest.raw_size
    );
    let read =
        |buffer: &mut [u8], offset: u64| file.read_exact_at(buffer, offset).with_context(context);
    let mut place = [0; RECORD_LENGTH];
    read(&mut place, RECORD_OFFSET)?;
    let found = Found::in_bytes(&place);
    let has_record = !matches!(found, Found::Nothing);
    match found {
        Found::Nothing => {}
        Found::Damaged => bail!("its commit record is damaged, or of a later gild"),
        Found::Version1(image_id) => ensure!(
            image_id == manifest.image_id,
            "its commit record names image {image_id}"
        ),
        Found::Record(Record {
            state: State::Flashing,
            image_id,
            ..
        }) => {
            bail!("the flash of image {image_id} onto it was not finished")
        }
        Found::Record(Record {
            image_id,
            manifest_sha256,
            ..
        }) => ensure!(
            image_id == manifest.image_id && manifest_sha256 == digest,
            "its commit record names image {image_id} (manifest {manifest_sha256})"
        ),
    }
    let mut block = [0; NETWORK_LENGTH];
    read(&mut block, NETWORK_OFFSET)?;
    let has_network = match network::Found::in_bytes(&block) {
        network::Found::Settings(_) => true,
        network::Found::Nothing => false,
        network::Found::Damaged => bail!("its network block is damaged, or of a later gild"),
    };
    let worker = || {
        let mut raw = Vec::new();
        Ok(move |index: usize| {
            let chunk = &manifest.chunks[index];
            raw.resize(chunk.raw_length as usize, 0);
            read(&mut raw, chunk.raw_offset)?;
            for (is_there, offset, length) in [
                (has_network, NETWORK_OFFSET, NETWORK_LENGTH),
                (has_record, RECORD_OFFSET, RECORD_LENGTH),
            ] {
                if is_there {
                    blank(offset..offset + length as u64, chunk.raw_offset, &mut raw);
                }
            }
            // A hole has the digest of zeros, but looking for zeros is faster than hashing them.
            if !(chunk.hole && chunk::is_zero(&raw)) {
                chunk::check(chunk, &raw)?;
            }
            Ok(chunk.raw_length)
        })
    };
    let mut progress = Progress::new("compare", manifest.raw_size);
    parallel::in_order(manifest.chunks.len(), worker, |length| {
        progress.add(length.into());
        Ok(())
    })
}

/// Replaces gild's own places in `raw`, which lies at this offset, by the zeros that the image has there.
fn blank(place: Range<u64>, offset: u64, raw: &mut [u8]) {
    let within = |position: u64| {
        usize::try_from(position.saturating_sub(offset))
            .unwrap_or(usize::MAX)
            .min(raw.len())
    };
    let (start, end) = (within(place.start), within(place.end));
    raw[start..end].fill(0);
}
