//! `gild image pack`: a raw disk image becomes the published set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};
use gild_format::manifest::{DEFAULT_CHUNK_SIZE, FORMAT_VERSION};
use gild_format::{Chunk, Manifest, Sha256Hex, chunk};
use sha2::{Digest, Sha256};

use super::disk::DiskImage;
use super::frames::{self, Stored};
use super::release::{Folder, Names, Signed};
use crate::key::Signer;

/// The first agent that can write what this version packs.
const MIN_AGENT_VERSION: &str = "0.1.0";

/// Arguments of `gild image pack`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Raw image of a whole disk
    #[arg(value_name = "DISK.img")]
    pub disk: PathBuf,
    /// Board that the image is for
    #[arg(long)]
    pub board: String,
    /// Secret key that signs the manifest
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Image id [default: board, build date and a digest of the content]
    #[arg(long)]
    pub id: Option<String>,
    /// Folder that gets a folder of the board
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
    /// zstd level
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..=22))]
    pub level: i32,
    /// Nodes refuse an image with a lower counter than their card demands
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub rollback_counter: u64,
    /// Sector size that the partition table was made for: 512 or 4096
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = sector_size)]
    pub sector_size: u32,
    /// Build time in seconds since 1970 [default: `SOURCE_DATE_EPOCH`, or now]
    #[arg(long, value_name = "T")]
    pub build_time: Option<u64>,
}

fn sector_size(text: &str) -> Result<u32, String> {
    match text {
        "512" => Ok(512),
        "4096" => Ok(4096),
        _ => Err("a sector has 512 or 4096 bytes".to_owned()),
    }
}

/// Runs `gild image pack`.
pub fn run(args: Args) -> Result<()> {
    // All that can be refused is refused before anything is compressed.
    let board = gild_boards::by_name(&args.board).ok_or_else(|| {
        let known: Vec<&str> = gild_boards::all()
            .iter()
            .map(|board| board.name.as_str())
            .collect();
        anyhow!(
            "the board {:?} is not known: {}",
            args.board,
            known.join(", ")
        )
    })?;
    let key = Signer::read(&args.key)?;
    let build_time = build_time(args.build_time)?;
    let image = DiskImage::open(&args.disk, args.sector_size)?;
    let given_id = args.id.is_some();
    let image_id = match args.id {
        Some(id) => id,
        None => format!("{}-{}", board.name, day(build_time)?),
    };
    let mut manifest = Manifest {
        format_version: FORMAT_VERSION,
        board: board.name.clone(),
        stored_file: Names::of(&image_id).stored,
        image_id,
        build_time,
        rollback_counter: args.rollback_counter,
        min_agent_version: MIN_AGENT_VERSION.to_owned(),
        raw_size: image.size(),
        sector_size: args.sector_size,
        chunk_size: DEFAULT_CHUNK_SIZE,
        stored_size: 0,
        stored_sha256: chunk::sha256(&[]),
        partitions: image.partitions()?,
        tools: BTreeMap::from([
            ("gild".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            (
                "zstd".to_owned(),
                zstd::zstd_safe::version_string().to_owned(),
            ),
        ]),
        chunks: Vec::new(),
    };
    let refused = || format!("cannot pack {}", args.disk.display());
    manifest.validate_all_but_chunks().with_context(refused)?;
    let folder = Folder::open(&args.output.join(&board.name))?;

    let mut file = folder.stage()?;
    let Stored {
        chunks,
        size,
        sha256,
    } = frames::write(&image, args.level, file.as_file_mut())?;
    file.as_file()
        .sync_all()
        .context("cannot write the stored image")?;
    image.check_unchanged()?;

    if !given_id {
        let id = format!("{}-{}", manifest.image_id, content_digest(&chunks));
        manifest.stored_file = Names::of(&id).stored;
        manifest.image_id = id;
    }
    manifest.stored_size = size;
    manifest.stored_sha256 = sha256;
    manifest.chunks = chunks;
    manifest.validate().with_context(refused)?;

    let signed = sign(&folder, &manifest, &key)?;
    folder.put(file, &manifest.stored_file)?;
    folder.put_manifest(&manifest, &signed)?;
    folder.set_current(&signed)?;
    report(&manifest, folder.path());
    Ok(())
}

/// Signs the manifest, or takes the one that says the same under the same id already.
///
/// An image id names one content for ever: a node in mid-flash counts on it.
fn sign(folder: &Folder, manifest: &Manifest, key: &Signer) -> Result<Signed> {
    let id = &manifest.image_id;
    let bytes = match folder.existing(id)? {
        None => manifest.to_json(),
        Some(existing) => {
            let same = Manifest::parse(&existing.manifest).is_ok_and(|found| {
                let (build_time, tools) = (found.build_time, found.tools.clone());
                found
                    == Manifest {
                        build_time,
                        tools,
                        ..manifest.clone()
                    }
            });
            if !same {
                bail!(
                    "image id {id} exists in {} with other content, nothing was changed: give another --id",
                    folder.path().display()
                );
            }
            // A signature differs each time it is made, so a good one is kept.
            if existing.check(Some(&key.public()?)).is_ok() {
                return Ok(existing);
            }
            existing.manifest
        }
    };
    let signature = key.sign(&bytes, &format!("gild image {id}"))?;
    Ok(Signed {
        manifest: bytes,
        signature,
    })
}

fn build_time(given: Option<u64>) -> Result<u64> {
    if let Some(time) = given {
        return Ok(time);
    }
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text
            .parse()
            .with_context(|| format!("SOURCE_DATE_EPOCH is {text:?}, not seconds since 1970")),
        Err(_) => Ok(SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_secs()),
    }
}

fn day(build_time: u64) -> Result<String> {
    let time = i64::try_from(build_time)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .ok_or_else(|| anyhow!("{build_time} is no build time"))?;
    Ok(time.strftime("%Y%m%d").to_string())
}

/// The part of the default image id that tells one content from another.
fn content_digest(chunks: &[Chunk]) -> String {
    let mut hasher = Sha256::new();
    for chunk in chunks {
        hasher.update(chunk.sha256.0);
        hasher.update(chunk.raw_length.to_le_bytes());
    }
    let mut digest = Sha256Hex(hasher.finalize().into()).to_string();
    digest.truncate(12);
    digest
}

fn report(manifest: &Manifest, folder: &Path) {
    let holes = manifest.chunks.iter().filter(|chunk| chunk.hole).count();
    log::info!(
        "{}: {} bytes in {} chunks, {holes} of them holes, stored in {} bytes",
        folder.join(&manifest.stored_file).display(),
        manifest.raw_size,
        manifest.chunks.len(),
        manifest.stored_size
    );
    println!("{}", manifest.image_id);
}
