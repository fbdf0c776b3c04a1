//! What a card does for each board: its boot order, and the U-Boot to start from.

use std::io::{self, Read, Seek, SeekFrom};

use gild_boards::rk3588::{self, IdBlock, Medium};
use gild_boards::rpi_eeprom::{self, BootOrder, Signature};
use gild_boards::{Board, BootFirmware};
use gild_card_format::names::{EEPROM_FILES, SPI_IMAGE, U_BOOT_AT};
use serde::Serialize;

use crate::fat::Files;
use crate::firmware;
use crate::layout::{self, SECTOR};

/// What the card does for one kind of board.
#[derive(Clone, Debug, Serialize)]
pub struct BoardReport {
    /// gild's name of the board.
    pub board: &'static str,
    /// What starts it.
    #[serde(flatten)]
    pub firmware: FirmwareReport,
}

/// What the card does for a board with one kind of firmware.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "boot_firmware", rename_all = "kebab-case")]
pub enum FirmwareReport {
    /// The Raspberry Pi's bootloader.
    RpiEeprom(Eeprom),
    /// U-Boot for the RK3588.
    Rk3588Spi(Spi),
}

/// What the card does to a Raspberry Pi's EEPROM.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Eeprom {
    /// When the firmware on the card was built; none without firmware.
    pub eeprom_built: Option<u32>,
    /// The time that the board reports after the update.
    pub update_time: Option<u32>,
    /// The least version that it satisfies on boards with newer parts.
    pub mfg_version: Option<u32>,
    /// The boot order that it sets.
    pub boot_order: Option<String>,
}

/// What the card has for a board with a boot flash.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Spi {
    /// Whether a board with an empty boot flash starts from this card.
    pub u_boot_on_card: bool,
    /// The order of the U-Boot that is written to the boot flash; none without one.
    pub boot_order: Option<Vec<String>>,
}

/// What is missing without the Raspberry Pi 5's firmware files.
pub const NO_EEPROM: &str = "Raspberry Pi 5: no firmware files, so the boot order in the EEPROM stays as it is. A board \
    that looks at the SD card first starts the agent at each power-on while the card is in, and the agent hands over to \
    the NVMe disk; firmware from before January 2025 cannot do that: remove the card when the disk is done";
/// What is missing without the Rock 5B's boot flash image.
pub const NO_SPI: &str = "Rock 5B: no image for the boot flash, so the boot flash stays as it is. A board whose \
    boot flash is empty starts only while the card is in";
/// What is missing without the Rock 5B's U-Boot.
pub const NO_U_BOOT: &str = "Rock 5B: no U-Boot on the card, so a board whose boot flash and eMMC are empty does \
    not start from it";

/// What the card does for each board. Boards with one kind of firmware get the same.
pub fn reports(files: &Files, u_boot: bool, problems: &mut Vec<String>) -> Vec<BoardReport> {
    let eeprom = eeprom(files, problems);
    let spi = Spi {
        u_boot_on_card: u_boot,
        boot_order: boot_targets(files, problems),
    };
    let report = |board: &'static Board| BoardReport {
        board: &board.name,
        firmware: match board.boot_firmware {
            BootFirmware::RpiEeprom => FirmwareReport::RpiEeprom(eeprom.clone()),
            BootFirmware::Rk3588Spi => FirmwareReport::Rk3588Spi(spi.clone()),
        },
    };
    gild_boards::all().iter().map(report).collect()
}

/// What the card lacks, with the consequence, once for each kind of firmware.
pub fn missing(boards: &[BoardReport]) -> Vec<&'static str> {
    let mut missing = Vec::new();
    for board in boards {
        let lacks = match &board.firmware {
            FirmwareReport::RpiEeprom(eeprom) => vec![(eeprom.eeprom_built.is_none(), NO_EEPROM)],
            FirmwareReport::Rk3588Spi(spi) => vec![
                (spi.boot_order.is_none(), NO_SPI),
                (!spi.u_boot_on_card, NO_U_BOOT),
            ],
        };
        for (is_missing, text) in lacks {
            if is_missing && !missing.contains(&text) {
                missing.push(text);
            }
        }
    }
    missing
}

/// Whether there is a whole U-Boot before the partition. If there are only zeros, there is none.
pub fn u_boot(
    disk: &mut (impl Read + Seek),
    end: u64,
    problems: &mut Vec<String>,
) -> io::Result<bool> {
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
            "the data at sector {sector} is not a U-Boot for the Rock 5B"
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

fn eeprom(files: &Files, problems: &mut Vec<String>) -> Eeprom {
    let [upd_name, sig_name, _] = EEPROM_FILES;
    let [upd, sig, recovery] = EEPROM_FILES.map(|path| files.get(path));
    let (Some(upd), Some(sig), Some(_)) = (upd, sig, recovery) else {
        if upd.is_some() || sig.is_some() || recovery.is_some() {
            problems.push(format!("not all of {} are there", EEPROM_FILES.join(", ")));
        }
        return Eeprom::default();
    };
    let signature = Signature::parse(&String::from_utf8_lossy(sig)).ok();
    if !signature
        .as_ref()
        .is_some_and(|signature| signature.matches(upd))
    {
        problems.push(format!(
            "the digest in {sig_name} is not the digest of {upd_name}"
        ));
    }
    let image = match rpi_eeprom::Image::parse(upd.clone()) {
        Ok(image) => image,
        Err(error) => {
            problems.push(format!("{upd_name}: {error}"));
            return Eeprom::default();
        }
    };
    let order = BootOrder::of(image.config().unwrap_or_default());
    if !order.is_some_and(BootOrder::is_nvme_then_card) {
        problems.push(format!(
            "{upd_name} does not look at the NVMe disk first and at the card after it"
        ));
    }
    Eeprom {
        eeprom_built: image.build_timestamp(),
        update_time: signature.and_then(|signature| signature.timestamp),
        mfg_version: image.mfg_version(),
        boot_order: order.map(|order| format!("{:#x}", order.0)),
    }
}

fn boot_targets(files: &Files, problems: &mut Vec<String>) -> Option<Vec<String>> {
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
