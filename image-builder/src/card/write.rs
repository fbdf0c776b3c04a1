//! `gild card write`: a card image onto an SD card, read back, its first sector last.
//!
//! The rules for the target are as in `gild flash`, and the same code reads and writes the disk. It is not the flash
//! engine itself: that leaves a record on the disk, where a card has U-Boot.

use std::fs::{self, File};
use std::io::IsTerminal;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use gild_card::config;
use gild_card::inspect::inspect;
use gild_card::layout::{CARD_LENGTH, SECTOR};
use gild_card_format::names::SD_CARD;
use gild_disk::{AlignedBuffer, Target};

use crate::flash::Refused;
use crate::flash::{confirm, disk};
use crate::input::must_be_file;
use crate::progress::Progress;
use crate::say::say_done;

/// Bytes in one read or write.
const PART: usize = 4 << 20;
/// The end of a disk, where an old partition table may have its copy.
const TAIL: u64 = 1 << 20;

/// Arguments of `gild card write`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Card image of `gild card build`
    #[arg(value_name = "card.img")]
    card: PathBuf,
    /// The SD card to write: everything on it is destroyed
    #[arg(long, value_name = "DEV")]
    device: PathBuf,
    /// Do not ask before writing
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
    let disk = disk::open(&args.device, args.allow_file, SECTOR as u32, &[&args.card])?;
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
            "{} is too small: a card takes {CARD_LENGTH} bytes; next: take a larger card",
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
        hint.is_empty() || (!args.yes && std::io::stdin().is_terminal()),
        Refused::target(format!(
            "{} is not a removable disk: run this in a terminal and without --yes, look again and confirm by hand",
            disk.description
        ))
    );
    if !args.yes {
        confirm::ask(&disk, &format!("It will be gild's flasher card.{hint}"))?;
    }
    write(&image, target)
        .with_context(|| format!("{} is not a card now: write it again", disk.description))?;
    say_done(&format!(
        "{} is a flasher card, written and read back",
        disk.description
    ));
    Ok(())
}

/// The card image, if it is one and nothing is wrong with it.
fn whole_image(path: &Path) -> Result<File> {
    let shown = path.display();
    must_be_file(path, super::IMAGE.0, super::IMAGE.1)?;
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

/// Card readers say that their medium can be removed. The slots of boards and laptops do not, but the kernel says whether a card is in one: an
/// eMMC that is built in has the same name.
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
    let block = Path::new("/sys/class/block").join(&name);
    is_removable_block(&block)
}

fn is_removable_block(block: &Path) -> bool {
    let says = |file: &str, value: &str| {
        fs::read_to_string(block.join(file)).is_ok_and(|text| text.trim() == value)
    };
    says("device/type", SD_CARD) || says("removable", "1")
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
        // To the next multiple of a part, so that all parts except the first are aligned to it.
        let length = (PART as u64 - at % PART as u64).min(CARD_LENGTH - at);
        let part = &mut buffer[..usize::try_from(length)?];
        image.read_exact_at(part, at)?;
        take(part, at)?;
        at += length;
        progress.add(length);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;

    use gild_disk::{BlockDevice, ZeroMethod};
    use gild_format::manifest::Partition;

    use super::*;

    /// A card in a file that gives one bit back wrong.
    struct Worn {
        file: BlockDevice,
        bad: u64,
    }

    impl Target for Worn {
        fn name(&self) -> &str {
            self.file.name()
        }

        fn size(&self) -> u64 {
            self.file.size()
        }

        fn sector_size(&self) -> u32 {
            self.file.sector_size()
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            self.file.read_at(buffer, offset)?;
            let place = self.bad.checked_sub(offset).map(usize::try_from);
            if let Some(byte) = place.and_then(|place| buffer.get_mut(place.ok()?)) {
                *byte ^= 1;
            }
            Ok(())
        }

        fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
            self.file.write_at(data, offset)
        }

        fn zero(&self, offset: u64, length: u64) -> io::Result<ZeroMethod> {
            self.file.zero(offset, length)
        }

        fn flush(&self) -> io::Result<()> {
            self.file.flush()
        }

        fn reread_partition_table(&self) -> io::Result<()> {
            self.file.reread_partition_table()
        }

        fn partition_table(&self) -> io::Result<Option<Vec<Partition>>> {
            self.file.partition_table()
        }
    }

    #[test]
    fn a_card_that_reads_back_wrong_is_reported_as_not_a_card() {
        let folder = tempfile::tempdir().expect("a folder");
        let sparse = |name: &str| {
            let path = folder.path().join(name);
            let file = File::create_new(&path).expect("a file");
            file.set_len(CARD_LENGTH).expect("its size");
            path
        };
        let image = sparse("card.img");
        fs::OpenOptions::new()
            .write(true)
            .open(&image)
            .and_then(|image| image.write_all_at(&[0x55; 8192], 0))
            .expect("a card");
        let image = File::open(image).expect("the card");
        for bad in [17, SECTOR + 4711, CARD_LENGTH - 1] {
            let path = sparse(&bad.to_string());
            let file = BlockDevice::open_file(&path, 512).expect("a device");
            let error = write(&image, &Worn { file, bad }).expect_err("a bit turned over");
            assert!(
                error.to_string().contains("does not keep what is written"),
                "{error}"
            );
            let mut first = [0; 512];
            let device = File::open(&path).expect("the device");
            device.read_exact_at(&mut first, 0).expect("its start");
            let is_bootable = first != [0; 512];
            assert_eq!(is_bootable, bad < SECTOR, "{bad}");
        }
    }

    #[test]
    fn an_emmc_is_not_a_card() {
        let block = tempfile::tempdir().expect("a folder");
        fs::create_dir(block.path().join("device")).expect("a folder");
        let is_removable = |kind: &str, flag: &str| {
            fs::write(block.path().join("device/type"), kind).expect("a file");
            fs::write(block.path().join("removable"), flag).expect("a file");
            is_removable_block(block.path())
        };
        assert!(is_removable("SD\n", "0\n"), "a card in a slot");
        assert!(!is_removable("MMC\n", "0\n"), "a built-in eMMC");
        assert!(is_removable("0\n", "1\n"), "a card reader");
        assert!(!is_removable_block(Path::new("/nowhere")));
    }
}
