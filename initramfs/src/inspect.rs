//! Reads a card back: what is on it, whether it is whole, what each board gets.
//!
//! Nothing here asks how the card was built: the partition table, the file system and every format are read from the
//! medium.

use std::io::{self, Read, Seek, SeekFrom};

use gild_boards::dtbo;
use gild_boards::rk3588::{self, IdBlock, Medium};
use gild_boards::rpi_eeprom::{self, BootOrder, Signature};
use gild_boards::uboot_script::Script;
use gild_boards::{Board, BootFirmware};
use gild_card_format::names::{CONFIG, EEPROM_FILES, LABEL, SPI_IMAGE, U_BOOT_AT};
use gild_card_format::sums::{self, SUMS};
use gild_card_format::{GATE, Gate};
use serde::Serialize;

use crate::fat::{self, Files};
use crate::layout::{self, SECTOR};
use crate::{boot, device_tree, firmware, kernel};

/// The zstd frame that the initramfs is.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Why a card cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Reading failed.
    #[error("reading the card failed: {0}")]
    Io(#[from] io::Error),
    /// No card.
    #[error("it is no flasher card: {0}")]
    NoCard(#[from] layout::TableError),
    /// A file system that cannot be read.
    #[error("the card's file system cannot be read: {0}")]
    FileSystem(io::Error),
}

/// What a card has.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// The disk's number, in hex digits.
    pub disk_id: String,
    /// The file system's number, as `blkid` shows it.
    pub volume_id: String,
    /// What is wrong with the card. Empty: it is whole.
    pub problems: Vec<String>,
    /// The Raspberry Pi 5's boot order.
    pub rpi5: Rpi5,
    /// The Rock 5B's U-Boot and boot order.
    pub rock5b: Rock5b,
    /// What the card lacks, with the consequence.
    pub missing: Vec<&'static str>,
    /// Files that the builder did not put there: what nodes wrote, or somebody else.
    pub others: Vec<String>,
    /// `gild.toml`.
    #[serde(skip)]
    pub config: String,
    /// `gate.env`: the images that this card has seen finished.
    pub gate: Vec<String>,
    /// Files with their lengths.
    pub files: std::collections::BTreeMap<String, usize>,
}

/// What the card does to a Raspberry Pi 5's EEPROM.
#[derive(Debug, Default, Serialize)]
pub struct Rpi5 {
    /// When the firmware on the card was built; none without firmware.
    pub eeprom_built: Option<u32>,
    /// The time that the board reports after the update.
    pub update_time: Option<u32>,
    /// The least version that it satisfies on boards with newer parts.
    pub mfg_version: Option<u32>,
    /// The boot order that it sets.
    pub boot_order: Option<String>,
}

/// What the card has for a Rock 5B.
#[derive(Debug, Default, Serialize)]
pub struct Rock5b {
    /// Whether a board with an empty boot flash starts from this card.
    pub u_boot_on_card: bool,
    /// The order of the U-Boot that is written to the boot flash; none without one.
    pub boot_order: Option<Vec<String>>,
}

/// What is missing without the Raspberry Pi 5's firmware files.
pub const NO_RPI5: &str = "Raspberry Pi 5: no firmware files, so the boot order in the EEPROM stays as it is. A board \
    that looks at the SD card first starts the agent at each power-on while the card is in, and the agent hands over to \
    the NVMe disk; firmware from before January 2025 cannot do that: remove the card when the disk is done";
/// What is missing without the Rock 5B's boot flash image.
pub const NO_ROCK5B_SPI: &str = "Rock 5B: no image for the boot flash, so the boot flash stays as it is. A board whose \
    boot flash is empty starts only while the card is in";
/// What is missing without the Rock 5B's U-Boot.
pub const NO_ROCK5B_U_BOOT: &str = "Rock 5B: no U-Boot on the card, so a board whose boot flash and eMMC are empty does \
    not start from it";

/// Looks at a card.
pub fn inspect(disk: &mut (impl Read + Seek)) -> Result<Inspection, InspectError> {
    let mut sector = [0; 512];
    disk.seek(SeekFrom::Start(0))?;
    disk.read_exact(&mut sector)?;
    let table = layout::read_table(&sector)?;
    let mut problems = Vec::new();
    let end = disk.seek(SeekFrom::End(0))?;
    if table.start < layout::FAT_AT || table.start.saturating_add(table.length) > end {
        problems.push(format!(
            "the partition ({} bytes from byte {}) does not lie between byte {} and the end at {end}",
            table.length,
            table.start,
            layout::FAT_AT
        ));
    }
    let u_boot = u_boot(disk, table.start, &mut problems)?;
    let volume = fat::read(disk, table.start, table.length).map_err(InspectError::FileSystem)?;
    if volume.label != LABEL {
        problems.push(format!(
            "its label is `{}`, and the agent looks for {LABEL}",
            volume.label
        ));
    }
    let files = &volume.files;
    let others = listed(files, &mut problems);
    starts(files, &mut problems);
    let rpi5 = rpi5(files, &mut problems);
    let rock5b = Rock5b {
        u_boot_on_card: u_boot,
        boot_order: rock5b(files, &mut problems),
    };
    let missing = [
        (rpi5.eeprom_built.is_none(), NO_RPI5),
        (rock5b.boot_order.is_none(), NO_ROCK5B_SPI),
        (!u_boot, NO_ROCK5B_U_BOOT),
    ];
    let text = |name: &str| {
        files
            .get(name)
            .map(|content| String::from_utf8_lossy(content).into_owned())
            .unwrap_or_default()
    };
    Ok(Inspection {
        disk_id: format!("{:08x}", table.disk_id),
        volume_id: format!("{:04X}-{:04X}", volume.id >> 16, volume.id & 0xffff),
        problems,
        rpi5,
        rock5b,
        missing: missing
            .into_iter()
            .filter_map(|(is_missing, text)| is_missing.then_some(text))
            .collect(),
        others,
        config: text(CONFIG),
        gate: Gate::parse(&text(GATE))
            .to_text()
            .lines()
            .map(str::to_owned)
            .collect(),
        files: files
            .iter()
            .map(|(path, content)| (path.clone(), content.len()))
            .collect(),
    })
}

/// Whether there is a whole U-Boot before the partition. Nothing but zeros is none.
fn u_boot(disk: &mut (impl Read + Seek), end: u64, problems: &mut Vec<String>) -> io::Result<bool> {
    let room = end.min(layout::FAT_AT).saturating_sub(U_BOOT_AT);
    let mut bytes = Vec::new();
    disk.seek(SeekFrom::Start(U_BOOT_AT))?;
    disk.take(room).read_to_end(&mut bytes)?;
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(false);
    }
    let sector = U_BOOT_AT / SECTOR;
    if !IdBlock::begins(&bytes) {
        problems.push(format!(
            "what stands at sector {sector} is no U-Boot for the Rock 5B"
        ));
        return Ok(false);
    }
    let checked =
        rk3588::Image::parse(bytes, Medium::Card).and_then(|image| firmware::validate(&image));
    if let Err(error) = checked {
        problems.push(format!("the U-Boot at sector {sector}: {error}"));
    }
    Ok(true)
}

/// Compares the files with the card's own list, and gives those that are not on it.
fn listed(files: &Files, problems: &mut Vec<String>) -> Vec<String> {
    let text = files
        .get(SUMS)
        .map(|content| String::from_utf8_lossy(content));
    let sums = match text.map(|text| sums::read(&text)) {
        Some(Ok(sums)) => sums,
        Some(Err(error)) => {
            problems.push(error);
            return Vec::new();
        }
        None => {
            problems.push(format!(
                "{SUMS} is missing: nothing says which files belong to the card"
            ));
            return Vec::new();
        }
    };
    for (path, digest) in &sums {
        match files.get(path) {
            None => problems.push(format!("{path} is missing")),
            Some(content) if sums::sha256(content) != *digest => {
                problems.push(format!(
                    "{path} is not what {SUMS} says: copy it again, or make a new card"
                ));
            }
            Some(_) => {}
        }
    }
    let known = |path: &str| sums.contains_key(path) || [SUMS, CONFIG].contains(&path);
    files.keys().filter(|path| !known(path)).cloned().collect()
}

/// What both boards need to start the agent.
fn starts(files: &Files, problems: &mut Vec<String>) {
    let mut check = |name: &str, wrong: &dyn Fn(&[u8]) -> Option<String>| match files.get(name) {
        None => problems.push(format!("{name} is missing: no board starts")),
        Some(content) => problems.extend(wrong(content).map(|error| format!("{name}: {error}"))),
    };
    check(boot::KERNEL, &|content| {
        let image = kernel::unpack(content).and_then(|image| kernel::check(&image));
        image.err().map(|error| error.to_string())
    });
    check(boot::PLAIN_KERNEL, &|content| {
        kernel::check(content).err().map(|error| error.to_string())
    });
    check(boot::INITRAMFS, &|content| {
        (!content.starts_with(&ZSTD)).then(|| "it is not compressed with zstd".to_owned())
    });
    check(boot::BOOT_SCR, &|content| {
        Script::parse(content).err().map(|error| error.to_string())
    });
    check(boot::CONFIG_TXT, &|content| {
        let text = String::from_utf8_lossy(content);
        let names = [
            format!("kernel={}", boot::KERNEL),
            format!("initramfs {} followkernel", boot::INITRAMFS),
        ];
        let missing = names
            .iter()
            .find(|wanted| !text.lines().any(|line| line == *wanted));
        // Without the check a board that is not supported would be started halfway. Overlays are the firmware's own choice.
        let harmful = text.lines().find(|line| {
            ["os_check", "dtoverlay"]
                .iter()
                .any(|key| line.trim().starts_with(key))
        });
        missing
            .map(|line| format!("the line `{line}` is missing"))
            .or(harmful.map(|line| format!("the line `{line}` must not be there")))
    });
    check(boot::CMDLINE_TXT, &|content| {
        let lines = String::from_utf8_lossy(content).trim().lines().count();
        (lines != 1).then(|| format!("it has {lines} lines, and the firmware takes one"))
    });
    check(CONFIG, &|_| None);
    for board in gild_boards::all() {
        match board.boot_firmware {
            BootFirmware::RpiEeprom => {
                let newer = board.stepping.as_ref();
                let trees = newer.map(|stepping| stepping.vendor_dtb.as_str());
                for name in [board.base_dtb()].into_iter().chain(trees) {
                    check(name, &|content| is_not_edited(content, board));
                }
            }
            BootFirmware::Rk3588Spi => check(&board.dtb[0], &|content| {
                device_tree::check(content, board.identity())
                    .err()
                    .map(|error| error.to_string())
            }),
        }
    }
    problems.extend(
        gild_boards::all()
            .iter()
            .filter_map(|board| overlay(files, board)),
    );
    if files
        .keys()
        .any(|path| path.starts_with(boot::NEVER_ON_THE_CARD))
    {
        problems.push(format!(
            "there is a folder {}: U-Boot takes it before {}, so a finished disk would never start",
            boot::NEVER_ON_THE_CARD,
            boot::BOOT_SCR
        ));
    }
}

/// What a device tree for the Raspberry Pi's firmware lacks.
fn is_not_edited(content: &[u8], board: &Board) -> Option<String> {
    match device_tree::is_edited(content, board.identity()) {
        Err(error) => Some(error.to_string()),
        Ok(false) => Some("it lacks what the board's firmware and the agent need".to_owned()),
        Ok(true) => None,
    }
}

/// What is wrong with the overlay that the Raspberry Pi's firmware applies on boards with the newer stepping.
fn overlay(files: &Files, board: &Board) -> Option<String> {
    let stepping = board.stepping.as_ref()?;
    let name = &stepping.overlay;
    let Some(content) = files.get(name) else {
        return Some(format!(
            "{name} is missing: a {} with the newer stepping of the processor does not start",
            board.model
        ));
    };
    // A tree that is missing is a problem of its own.
    let base = files.get(board.base_dtb())?;
    let newer = files.get(&stepping.vendor_dtb)?;
    let wrong = dtbo::check_order(base, newer, &stepping.compatible)
        .and_then(|()| dtbo::check_devices(base, content, newer))
        .and_then(|()| dtbo::check_gives(base, content, newer))
        .err()?;
    Some(format!("{name}: {wrong}"))
}

fn rpi5(files: &Files, problems: &mut Vec<String>) -> Rpi5 {
    let [upd_name, sig_name, _] = EEPROM_FILES;
    let [upd, sig, recovery] = EEPROM_FILES.map(|path| files.get(path));
    let (Some(upd), Some(sig), Some(_)) = (upd, sig, recovery) else {
        if upd.is_some() || sig.is_some() || recovery.is_some() {
            problems.push(format!("not all of {} are there", EEPROM_FILES.join(", ")));
        }
        return Rpi5::default();
    };
    let signature = Signature::parse(&String::from_utf8_lossy(sig)).ok();
    if !signature
        .as_ref()
        .is_some_and(|signature| signature.matches(upd))
    {
        problems.push(format!(
            "the digest in {sig_name} is not that of {upd_name}"
        ));
    }
    let image = match rpi_eeprom::Image::parse(upd.clone()) {
        Ok(image) => image,
        Err(error) => {
            problems.push(format!("{upd_name}: {error}"));
            return Rpi5::default();
        }
    };
    let order = BootOrder::of(image.config().unwrap_or_default());
    if !order.is_some_and(BootOrder::is_nvme_then_card) {
        problems.push(format!(
            "{upd_name} does not look at the NVMe disk first and at the card after it"
        ));
    }
    Rpi5 {
        eeprom_built: image.build_timestamp(),
        update_time: signature.and_then(|signature| signature.timestamp),
        mfg_version: image.mfg_version(),
        boot_order: order.map(|order| format!("{:#x}", order.0)),
    }
}

fn rock5b(files: &Files, problems: &mut Vec<String>) -> Option<Vec<String>> {
    let spi = files.get(SPI_IMAGE)?;
    let checked = rk3588::Image::parse(spi.clone(), Medium::Spi).and_then(|image| {
        firmware::validate(&image)?;
        Ok(image)
    });
    let image = match checked {
        Ok(image) => image,
        Err(error) => {
            problems.push(format!("{SPI_IMAGE}: {error}"));
            return None;
        }
    };
    if !image.is_nvme_then_card().unwrap_or(false) {
        problems.push(format!(
            "{SPI_IMAGE} does not look at the NVMe disk first and at the card after it"
        ));
    }
    image.boot_targets().ok()
}
