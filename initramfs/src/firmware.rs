//! The firmware files that the user supplies: checked before they go on the card, and made ready for the agent.

use gild_boards::BootFirmware;
use gild_boards::rk3588::{self, BootTargetsError, Medium, Rk3588Error, ShellCommand};
use gild_boards::rpi_eeprom::{
    self, Chip, ConfigError, EepromError, RECOVERY_FOR_NEWER_PARTS, RECOVERY_LENGTH, Recovery,
    Signature, day,
};
use gild_card_format::names::{EEPROM_FILES, SPI_IMAGE};
use sha2::{Digest, Sha256};

use crate::boot::FATRM;
use crate::fat::Files;

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// No EEPROM image.
    #[error("it is not an EEPROM image of a Raspberry Pi 5: {0}")]
    Eeprom(#[from] EepromError),
    /// For an earlier Raspberry Pi.
    #[error("it is for the {0}, not for the BCM2712 of the Raspberry Pi 5")]
    OtherChip(&'static str),
    /// Its configuration cannot be set.
    #[error("its configuration cannot be set: {0}")]
    Config(#[from] ConfigError),
    /// No version.
    #[error(
        "it does not say when it was built (BUILD_TIMESTAMP), so the agent cannot know whether it is newer"
    )]
    NoVersion,
    /// Not the recovery program.
    #[error("it is not the vendor's recovery.bin: {0}")]
    Recovery(&'static str),
    /// Not a file for the RK3588 or the board.
    #[error("it is not a U-Boot that can start a Rock 5B: {0}")]
    Rk3588(#[from] Rk3588Error),
    /// It cannot count the starts of an image on trial.
    #[error(
        "its U-Boot lacks the command `{FATRM}`, without which a Rock 5B never starts an image on trial; next: build U-Boot with CONFIG_CMD_FAT=y and CONFIG_FAT_WRITE=y, or give another one"
    )]
    NoFatrm,
    /// Its boot order cannot be set.
    #[error("its boot order cannot be changed to the NVMe disk first: {0}")]
    BootTargets(#[from] BootTargetsError),
}

/// Firmware files, ready for the card.
#[derive(Clone, Debug, Default)]
pub struct Firmware {
    /// For the Raspberry Pi 5's EEPROM.
    pub rpi5: Option<Rpi5>,
    /// For the Rock 5B's boot flash.
    pub rock5b_spi: Option<Vec<u8>>,
    /// For sector 64 of the card itself.
    pub rock5b_u_boot: Option<Vec<u8>>,
}

/// What updates the Raspberry Pi 5's EEPROM.
#[derive(Clone, Debug)]
pub struct Rpi5 {
    /// The EEPROM image with the boot order set.
    pub upd: Vec<u8>,
    /// Its digest and the time that the board reports after the update.
    pub sig: String,
    /// The vendor's program that writes it.
    pub recovery: Vec<u8>,
}

/// An EEPROM image with the NVMe disk first, and the card after it.
pub fn eeprom(file: Vec<u8>) -> Result<(Vec<u8>, String), FirmwareError> {
    let mut image = rpi_eeprom::Image::parse(file)?;
    if image.chip() != Chip::Bcm2712 {
        return Err(FirmwareError::OtherChip(image.chip().name()));
    }
    let built = image.build_timestamp().ok_or(FirmwareError::NoVersion)?;
    let config = rpi_eeprom::with_nvme_first(image.config()?)?;
    image.set_config(&config)?;
    let upd = image.bytes().to_vec();
    let sig = Signature::of(&upd, update_time(built, &upd)).to_text();
    Ok((upd, sig))
}

/// The time that stands for this update: the board reports it back, and the agent then knows that the update is done.
/// So it depends only on the content; different content for one version gets different times, within a day.
fn update_time(built: u32, upd: &[u8]) -> u32 {
    let digest = Sha256::digest(upd);
    built.saturating_add(1 + u32::from(u16::from_be_bytes([digest[0], digest[1]])))
}

/// Checks a `recovery.bin` as far as that can be done: its format is not published.
pub fn recovery(file: Vec<u8>) -> Result<Vec<u8>, FirmwareError> {
    if rpi_eeprom::Image::parse(file.clone()).is_ok() {
        return Err(FirmwareError::Recovery("it is an EEPROM image"));
    }
    if !RECOVERY_LENGTH.contains(&file.len()) {
        return Err(FirmwareError::Recovery(
            "it has not between 32 KiB and 1 MiB",
        ));
    }
    if str::from_utf8(&file).is_ok() {
        return Err(FirmwareError::Recovery("it is a text"));
    }
    Ok(file)
}

/// A complete image of the boot flash with the NVMe disk first, and the card after it.
pub fn rock5b_spi(file: Vec<u8>) -> Result<Vec<u8>, FirmwareError> {
    let image = rock5b(file, Medium::Spi)?;
    if image.is_nvme_then_card()? {
        return Ok(image.bytes().to_vec());
    }
    Ok(image
        .with_boot_targets(&rk3588::NVME_FIRST)?
        .bytes()
        .to_vec())
}

/// A U-Boot for the card itself.
pub fn rock5b_u_boot(file: Vec<u8>) -> Result<Vec<u8>, FirmwareError> {
    Ok(rock5b(file, Medium::Card)?.bytes().to_vec())
}

/// Checks that a U-Boot is for one of the boards that it is to start.
pub(crate) fn validate(image: &rk3588::Image) -> Result<(), Rk3588Error> {
    let mut judged =
        gild_boards::with_firmware(BootFirmware::Rk3588Spi).map(|board| image.validate_for(board));
    let first = judged.next().unwrap_or(Ok(()));
    if judged.any(|other| other.is_ok()) {
        return Ok(());
    }
    first
}

fn rock5b(file: Vec<u8>, medium: Medium) -> Result<rk3588::Image, FirmwareError> {
    let image = rk3588::Image::parse(file, medium)?;
    validate(&image)?;
    match image.command(FATRM) {
        ShellCommand::Lacking => Err(FirmwareError::NoFatrm),
        // A U-Boot that gild cannot look into is not refused: see `Firmware::u_boot_doubts`.
        ShellCommand::Known | ShellCommand::Hidden { .. } => Ok(image),
    }
}

impl Rpi5 {
    /// What speaks against its `recovery.bin`, as far as its texts say when it was built.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let Some(built) = Recovery::of(&self.recovery).and_then(|recovery| recovery.built) else {
            return vec![
                "nothing in recovery.bin says when it was built, so it may be too old for boards with newer parts: take it from the same release as the EEPROM image"
                    .to_owned(),
            ];
        };
        let mut doubts = Vec::new();
        if built < RECOVERY_FOR_NEWER_PARTS {
            doubts.push(format!(
                "recovery.bin is of {}: a board with newer parts needs one of {} or later, and stops with a red screen while this card is in its slot; take a newer one",
                day(built),
                day(RECOVERY_FOR_NEWER_PARTS)
            ));
        }
        let image = rpi_eeprom::Image::parse(self.upd.clone()).ok();
        // By the day: of one release they are built one after the other.
        if let Some(image) = image.and_then(|image| image.build_timestamp())
            && day(built) < day(image)
        {
            doubts.push(format!(
                "recovery.bin is of {}, and the EEPROM image is of {}: take both from one release",
                day(built),
                day(image)
            ));
        }
        doubts
    }
}

impl Firmware {
    /// Whether the two U-Boots begin with different programs. The card's has started a board before the flash is written
    /// with the other one, which nobody has tried then: if that one hangs, the board does not look at a card any more.
    #[must_use]
    pub fn has_untried_loader(&self) -> bool {
        let (Some(spi), Some(card)) = (&self.rock5b_spi, &self.rock5b_u_boot) else {
            return false;
        };
        let spi = rk3588::Image::parse(spi.clone(), Medium::Spi);
        let card = rk3588::Image::parse(card.clone(), Medium::Card);
        !matches!((spi, card), (Ok(spi), Ok(card)) if spi.has_loader_of(&card))
    }

    /// What gild cannot see in the U-Boots, because they are compressed.
    #[must_use]
    pub fn u_boot_doubts(&self) -> Vec<String> {
        let doubt = |(file, medium, place): (&Option<Vec<u8>>, Medium, &str)| {
            let u_boot = rk3588::Image::parse(file.clone()?, medium).ok()?;
            let ShellCommand::Hidden { image, compression } = u_boot.command(FATRM) else {
                return None;
            };
            Some(format!(
                "the image `{image}` in the U-Boot for {place} is compressed ({compression}), so gild cannot see whether this U-Boot has the command `{FATRM}`; without it a board never starts an image on trial. Use an uncompressed one, or type `help {FATRM}` at its prompt"
            ))
        };
        let both = [
            (&self.rock5b_spi, Medium::Spi, "the boot flash"),
            (&self.rock5b_u_boot, Medium::Card, "the card"),
        ];
        both.into_iter().filter_map(doubt).collect()
    }

    /// The files that lie on the card's file system.
    #[must_use]
    pub fn files(&self) -> Files {
        let mut files = Files::new();
        if let Some(rpi5) = &self.rpi5 {
            let contents = [
                rpi5.upd.clone(),
                rpi5.sig.clone().into_bytes(),
                rpi5.recovery.clone(),
            ];
            for (path, content) in EEPROM_FILES.into_iter().zip(contents) {
                files.insert(path.to_owned(), content);
            }
        }
        if let Some(spi) = &self.rock5b_spi {
            files.insert(SPI_IMAGE.to_owned(), spi.clone());
        }
        files
    }
}
