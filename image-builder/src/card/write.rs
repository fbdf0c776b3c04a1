//! `gild card write`: a card image onto an SD card, read back, its first sector last.
//!
//! What may be written is decided as for `gild flash`, and the same code reads and writes the disk. It is not the flash
//! engine itself: that leaves a record on the disk, where a card has U-Boot.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use gild_card::config;
use gild_card::inspect::inspect;
use gild_card::layout::{CARD_LENGTH, SECTOR};
use gild_flash::{AlignedBuffer, Target};

use crate::flash::Refused;
use crate::flash::{confirm, disk};
use crate::progress::Progress;

/// Bytes in one read or write.
const PART: usize = 4 << 20;
/// The end of a disk, where an old partition table may have its copy.
const TAIL: u64 = 1 << 20;

/// Arguments of `gild card write`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The card image
    #[arg(value_name = "card.img")]
    card: PathBuf,
    /// The SD card to write: everything on it is destroyed
    #[arg(long, value_name = "DEV")]
    device: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Accept a regular file as the device
    #[arg(long)]
    allow_file: bool,
}

/// Runs `gild card write`.
pub fn run(args: &Args) -> Result<()> {
    let image = whole_image(&args.card)?;
    #[expect(clippy::cast_possible_truncation, reason = "512")]
    let disk = disk::open(&args.device, args.allow_file, SECTOR as u32)?;
    let target = &disk.target;
    ensure!(
        u64::from(target.sector_size()) == SECTOR,
        Refused::target(format!(
            "{} has sectors of {} bytes: the boards start from sectors of {SECTOR}",
            disk.description,
            target.sector_size()
        ))
    );
    ensure!(
        target.size() >= CARD_LENGTH,
        Refused::target(format!(
            "{} is too small: a card takes {CARD_LENGTH} bytes",
            disk.description
        ))
    );
    let hint = if is_removable(&args.device) {
        ""
    } else {
        log::warn!(
            "{} is not a removable disk: is it the card?",
            disk.description
        );
        " It is NOT a removable disk."
    };
    ensure!(
        hint.is_empty() || !args.yes,
        Refused::target(format!(
            "{} is not a removable disk: leave out --yes, look again and confirm by hand",
            disk.description
        ))
    );
    if !args.yes {
        confirm::ask(&disk, &format!("It will be gild's flasher card.{hint}"))?;
    }
    write(&image, target)
        .with_context(|| format!("{} is not a card now: write it again", disk.description))?;
    println!(
        "{} is a flasher card, written and read back",
        disk.description
    );
    Ok(())
}

/// The card image, if it is one and nothing is wrong with it.
fn whole_image(path: &Path) -> Result<File> {
    let shown = path.display();
    let mut file = File::open(path).with_context(|| format!("cannot open {shown}"))?;
    let card = inspect(&mut file).with_context(|| format!("{shown} is not written"))?;
    let mut problems = card.problems;
    problems.extend(
        config::prepare(&card.config, None)
            .err()
            .map(|error| error.to_string()),
    );
    ensure!(
        problems.is_empty(),
        "{shown} is not written: {}",
        problems.join("; ")
    );
    let length = file.metadata()?.len();
    ensure!(
        length == CARD_LENGTH,
        "{shown} is not written: it has {length} bytes, and a card image {CARD_LENGTH}"
    );
    Ok(file)
}

/// Card readers say that their medium can be removed; the slots of laptops do not, but are named for what they take.
fn is_removable(device: &Path) -> bool {
    let Ok(device) = device.canonicalize() else {
        return false;
    };
    if device.is_file() {
        return true;
    }
    let name = device
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let flag = Path::new("/sys/class/block").join(&name).join("removable");
    name.starts_with("mmcblk") || fs::read_to_string(flag).is_ok_and(|flag| flag.trim() == "1")
}

fn write(image: &File, target: &dyn Target) -> Result<()> {
    let sector = usize::try_from(SECTOR)?;
    let mut first = AlignedBuffer::new(sector);
    // A card that was cut off while it was written has no partition table: no board starts from half of it.
    target.write_at(&first, 0)?;
    target.flush()?;
    let tail = target.size().saturating_sub(TAIL).max(CARD_LENGTH);
    if tail < target.size() {
        target.zero(tail, target.size() - tail)?;
    }
    let zeros = AlignedBuffer::new(PART);
    for_each_part(image, "write", |part, at| {
        if *part == zeros[..part.len()] {
            target.zero(at, part.len() as u64).map(drop)
        } else {
            target.write_at(part, at)
        }
    })?;
    target.flush()?;
    let mut found = AlignedBuffer::new(PART);
    for_each_part(image, "read back", |part, at| {
        let found = &mut found[..part.len()];
        target.read_at(found, at)?;
        same(part, found, at)
    })?;
    image.read_exact_at(&mut first, 0)?;
    target.write_at(&first, 0)?;
    target.flush()?;
    let mut found = AlignedBuffer::new(sector);
    target.read_at(&mut found, 0)?;
    same(&first, &found, 0)?;
    target.reread_partition_table()?;
    Ok(())
}

fn same(wanted: &[u8], found: &[u8], at: u64) -> std::io::Result<()> {
    if wanted == found {
        return Ok(());
    }
    Err(std::io::Error::other(format!(
        "it does not keep what is written at byte {at}: use another card"
    )))
}

/// Everything after the first sector, in order.
fn for_each_part(
    image: &File,
    what: &'static str,
    mut take: impl FnMut(&[u8], u64) -> std::io::Result<()>,
) -> Result<()> {
    let mut progress = Progress::new(what, CARD_LENGTH);
    let mut buffer = AlignedBuffer::new(PART);
    let mut at = SECTOR;
    while at < CARD_LENGTH {
        // To the next multiple of a part, so that all but the first are aligned to it.
        let length = (PART as u64 - at % PART as u64).min(CARD_LENGTH - at);
        let part = &mut buffer[..usize::try_from(length)?];
        image.read_exact_at(part, at)?;
        take(part, at)?;
        at += length;
        progress.add(length);
    }
    Ok(())
}
