//! `gild image pack`: a raw disk image becomes the published set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use gild_boards::Board;
use gild_format::manifest::{DEFAULT_CHUNK_SIZE, FORMAT_VERSION};
use gild_format::{Chunk, ImageId, Manifest, Sha256Hex, chunk};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::disk::DiskImage;
use super::frames::{self, Stored};
use super::release::{Folder, Names, Signed, check_id};
use crate::board;
use crate::key::Signer;
use crate::output::must_not_hold;
use crate::source_date;

/// The first agent that can write what this version packs, and that knows the record on a disk: an earlier agent treats a
/// disk with a later record as another system's, and writes it unasked.
const MIN_AGENT_VERSION: &str = "0.2.0";
// If you raise the record's version, raise the agent's, too.
const _: () = assert!(gild_format::record::VERSION == 2);

/// Arguments of `gild image pack`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Raw image of a whole disk
    #[arg(value_name = "DISK.img")]
    pub disk: PathBuf,
    /// Board that the image is for
    #[arg(long, value_parser = board::Named)]
    pub board: &'static Board,
    /// Secret key that signs the manifest; `GILD_KEY_PASSWORD` in the environment holds its password, if it has one
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Image id [default: board, build date and a digest of the content]
    #[arg(long)]
    pub id: Option<String>,
    /// Folder in which the image gets a folder with the name of the board
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
    /// Level of zstd, 1 (fast) to 22 (small)
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..=22))]
    pub level: i32,
    /// Rollback counter; once an image has started on a node, the node refuses images with a lower counter [default: the
    /// build time]
    ///
    /// To go back to an older image on purpose, use `gild image current --key`, which signs it again with a higher counter.
    #[arg(long, value_name = "N")]
    pub rollback_counter: Option<u64>,
    /// Put the image on trial until it has proven itself; give this only to an image that can
    ///
    /// Once the image has started and all is well, a program in it must write `proven` into the commit record at the end
    /// of the disk's first MiB. Until then its boot partition must lead back to the card, as in an image of `gild image build`: on a
    /// Raspberry Pi 5 `set_reboot_order=0xf61` in config.txt, on a Rock 5B a boot.scr that uses up the files in `gild-trial`.
    /// The program then removes that way back. An image without this option counts as proven as soon as it is written.
    #[arg(long)]
    pub proves_itself: bool,
    /// Sector size that the partition table was made for, in bytes: 512 or 4096
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = sector_size)]
    pub sector_size: u32,
    /// Build time, in seconds since 1970 [default: `SOURCE_DATE_EPOCH` in the environment, or now]
    #[arg(long, value_name = "SECONDS")]
    pub build_time: Option<u64>,
}

pub fn sector_size(text: &str) -> Result<u32, String> {
    match text {
        "512" => Ok(512),
        "4096" => Ok(4096),
        _ => Err("a sector has 512 or 4096 bytes".to_owned()),
    }
}

/// Runs `gild image pack`.
pub fn run(args: Args) -> Result<()> {
    pack(args, &[], None)
}

/// Packs an image with the files about it: the endings of these files' names, and their texts. The board's folder is
/// opened unless the caller holds it.
pub fn pack(args: Args, about: &[(&str, &str)], held: Option<Folder>) -> Result<()> {
    // All that can be refused is refused before anything is compressed.
    let board = args.board;
    let key = Signer::read(&args.key)?;
    let build_time = args.build_time.map_or_else(source_date::or_now, Ok)?;
    let rollback_counter = args.rollback_counter.unwrap_or(build_time);
    check_counter(rollback_counter, source_date::now()?)?;
    let image = DiskImage::open(&args.disk, args.sector_size)?;
    let given_id = args.id.is_some();
    if let Some(id) = &args.id {
        check_id(&ImageId::parse(id).with_context(|| format!("--id {id}"))?)?;
    }
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
        rollback_counter,
        proves_itself: args.proves_itself,
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
    let folder = match held {
        Some(folder) => folder,
        None => Folder::open(&args.output.join(&board.name))?,
    };

    let mut file = folder.stage()?;
    let Stored {
        chunks,
        size,
        sha256,
    } = frames::write(&image, args.level, file.file(), folder.path())?;
    let file = file.finish().with_context(|| {
        format!(
            "cannot write the stored image to {}",
            folder.path().display()
        )
    })?;
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
    let names = Names::of(&manifest.image_id);
    for name in [names.stored, names.manifest, names.bmap, names.sums] {
        let path = folder.path().join(name);
        if path.exists() {
            must_not_hold(&path, &[&args.disk, &args.key])?;
        }
    }

    let signed = sign(&folder, &manifest, &key, args.rollback_counter.is_none())?;
    folder.put(file, &manifest.stored_file)?;
    for (ending, text) in about {
        let staged = folder.stage_bytes(text.as_bytes())?;
        folder.put(staged, &format!("{}.{ending}", manifest.image_id))?;
    }
    folder.put_manifest(&manifest, &signed)?;
    folder.set_current(&signed)?;
    report(&manifest, folder.path());
    Ok(())
}

/// Once a node has started an image, it refuses each image with a lower counter forever: a counter that is far ahead of the
/// time would shut out all images to come.
pub const fn is_counter_of_today(counter: u64, now: u64) -> bool {
    const DAY: u64 = 24 * 60 * 60;
    counter <= now.saturating_add(DAY)
}

fn check_counter(counter: u64, now: u64) -> Result<()> {
    ensure!(
        is_counter_of_today(counter, now),
        "rollback counter {counter} is more than a day ahead of this machine's clock ({now}), and nodes that start this image \
         would refuse every image with a lower one; next: correct the clock or the build time, or give a lower --rollback-counter"
    );
    Ok(())
}

/// Signs the manifest, or takes an existing manifest of this id that says the same.
///
/// An image id names one content forever: a node in mid-flash counts on it.
fn sign(folder: &Folder, manifest: &Manifest, key: &Signer, any_counter: bool) -> Result<Signed> {
    let id = &manifest.image_id;
    let bytes = match folder.existing(id)? {
        None => manifest.to_json(),
        Some(existing) => {
            let found = Manifest::parse(&existing.manifest).ok();
            let found = found.filter(|found| {
                let (build_time, tools) = (found.build_time, found.tools.clone());
                let rollback_counter = if any_counter {
                    found.rollback_counter
                } else {
                    manifest.rollback_counter
                };
                *found
                    == Manifest {
                        build_time,
                        rollback_counter,
                        tools,
                        ..manifest.clone()
                    }
            });
            let Some(found) = found else {
                bail!(
                    "image id {id} exists in {} with other content, or packed in another way (--level, --rollback-counter, --proves-itself), and \
                     nothing was changed; next: give another --output; an image whose gild-image.env names its id must keep it, others may get another --id",
                    folder.path().display()
                );
            };
            // A signature differs each time it is made, so a good one is kept.
            if existing.check(Some(&key.public()?)).is_ok() {
                return Ok(existing);
            }
            // Nothing proves what the found manifest says beside the content. So it is signed only if it says what this pack
            // would say.
            let is_plain = found.to_json() == existing.manifest
                && found.rollback_counter <= manifest.rollback_counter
                && found.build_time <= manifest.build_time;
            if is_plain {
                existing.manifest
            } else {
                manifest.to_json()
            }
        }
    };
    let signature = key.sign(&bytes, &format!("gild image {id}"))?;
    Ok(Signed {
        manifest: bytes,
        signature,
    })
}

fn day(build_time: u64) -> Result<String> {
    Ok(timestamp(build_time)?.strftime("%Y%m%d").to_string())
}

/// A build time as a point in time.
pub fn timestamp(build_time: u64) -> Result<Timestamp> {
    i64::try_from(build_time)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or_else(|| anyhow!("{build_time} is not a build time; next: give seconds since 1970"))
}

/// The part of the default image id that distinguishes one content from another.
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt;
    use std::process::Command;

    use super::{Args, check_counter, pack};
    use crate::{board, key};

    const SECTOR: u64 = 512;

    /// A disk with one partition and these bytes in it.
    fn make_disk(path: &std::path::Path, content: &[u8]) {
        let disk = fs::File::create(path).expect("a file");
        disk.set_len(8 << 20).expect("a size");
        let script = path.with_extension("sfdisk");
        fs::write(&script, "label: gpt\nstart=2048, size=8192\n").expect("a file");
        let made = Command::new("sfdisk")
            .arg("--quiet")
            .arg(path)
            .stdin(fs::File::open(&script).expect("the file"))
            .status()
            .expect("sfdisk: run `make setup`");
        assert!(made.success());
        disk.write_all_at(content, 2048 * SECTOR).expect("bytes");
    }

    #[test]
    fn a_counter_that_would_shut_out_the_images_to_come_is_refused() {
        let now = 1_800_000_000;
        for counter in [0, 7, now, now + 24 * 60 * 60] {
            check_counter(counter, now).expect("a counter");
        }
        for counter in [now + 24 * 60 * 60 + 1, u64::MAX] {
            let error = check_counter(counter, now).expect_err("too high");
            assert!(error.to_string().contains("--rollback-counter"), "{error}");
        }
    }

    #[test]
    fn a_refused_image_leaves_the_files_about_the_published_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        key::run(key::Command::New { output: at("site") }).expect("a key");
        let pack_of = |content: &[u8], about: &str| {
            make_disk(&at("disk.img"), content);
            let args = Args {
                disk: at("disk.img"),
                board: board::named("rpi5").expect("a board"),
                key: at("site.key"),
                id: Some("rpi5-0123456789ab".to_owned()),
                output: at("out"),
                level: 1,
                rollback_counter: Some(0),
                proves_itself: false,
                sector_size: 512,
                build_time: Some(1_767_312_000),
            };
            pack(args, &[("build.json", about)], None)
        };
        let written = || fs::read_to_string(at("out/rpi5/rpi5-0123456789ab.build.json"));
        pack_of(b"one", "of one").expect("a set");
        assert_eq!(written().expect("the file"), "of one");
        let refused = pack_of(b"two", "of two").expect_err("another content");
        assert!(
            refused.to_string().contains("with other content"),
            "{refused}"
        );
        assert_eq!(written().expect("the file"), "of one");
    }
}
