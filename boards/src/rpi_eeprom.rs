//! The Raspberry Pi's boot EEPROM image, `pieeprom-*.bin`.
//!
//! The vendor's `rpi-eeprom-config` reads and writes this format: sections one after another, each a
//! big-endian magic, a big-endian length and so many bytes, the next one at the next multiple of 8. What that tool
//! would write, byte for byte, is what [`Image::set_config`] and [`Image::set_timestamp`] make.
//!
//! Newer images hold the firmware twice, for updates that survive a power cut ("A/B"); what is shipped has the second
//! half empty, and only such an image can be edited.

mod config;
mod edit;
mod recovery;
mod section;
mod signature;

pub use config::{
    BootOrder, CONFIG_MAX, ConfigError, NVME_FIRST, PCIE_PROBE, changes, get_key, set_keys,
    with_nvme_first,
};
pub use recovery::{RECOVERY_FOR_NEWER_PARTS, RECOVERY_LENGTH, Recovery, day};
pub use section::{Section, SectionKind};
pub use signature::{Signature, SignatureError};

use std::fmt;

use memchr::memmem;
use thiserror::Error;

use crate::wire::{be32, le32};
use edit::VENDORS_MAX;

/// Where the read-only area of an A/B image ends and its first half begins.
const FIRST_HALF: usize = 64 << 10;
/// Where the first half of an A/B image ends. The vendor's tool edits nothing beyond it in any image.
const FIRST_HALF_END: usize = FIRST_HALF + (988 << 10);
/// Where the two journals of an A/B image begin, which say which half is in use.
const JOURNALS: usize = 0x1f_e000;
/// The end of every image belongs to the bootloader.
const SCRATCH: usize = 4096;
/// The file that only A/B images have, and where.
const BOOTSYS: (&str, usize) = ("bootsys", FIRST_HALF);
/// The file with the configuration.
const BOOTCONF: &str = "bootconf.txt";
/// The file with the signature of the configuration.
const BOOTCONF_SIG: &str = "bootconf.sig";
/// The file with the time of the last update, in A/B images.
const UPDATETIME: &str = "updatetime";

/// Why bytes are not an EEPROM image, or why it cannot be edited.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EepromError {
    /// Not the size of any Raspberry Pi's EEPROM.
    #[error(
        "{0} bytes are not the size of a boot EEPROM image: an image for a Raspberry Pi 5 has 2097152 bytes, for a Raspberry Pi 4 524288"
    )]
    Size(usize),
    /// The first section is not the boot code.
    #[error(
        "it does not begin with the boot code of a Raspberry Pi: not an EEPROM image, or damaged"
    )]
    NoBootcode,
    /// No section begins where one should.
    #[error("damaged: no section begins at {offset:#x} (found {magic:#010x})")]
    Magic {
        /// Where the section should begin.
        offset: usize,
        /// The bytes there.
        magic: u32,
    },
    /// A section is longer than the image, or shorter than its own header.
    #[error("damaged: the section at {offset:#x} cannot have the length {length}")]
    Length {
        /// Where the section begins.
        offset: usize,
        /// The length it claims.
        length: u32,
    },
    /// A file's name is not a name.
    #[error("damaged: the file at {0:#x} has no readable name")]
    Name(usize),
    /// More sections than any image has.
    #[error("damaged: more than {0} sections")]
    TooManySections(usize),
    /// There is no configuration to read or replace.
    #[error("it has no bootconf.txt, the configuration")]
    NoConfig,
    /// The configuration is longer than the vendor's tool allows.
    #[error("a configuration of {0} bytes is too long: at most {VENDORS_MAX} fit")]
    ConfigTooLong(usize),
    /// The configuration would run into what comes after it.
    #[error("a configuration of {length} bytes does not fit: there is room for {room}")]
    ConfigDoesNotFit {
        /// Bytes of the configuration.
        length: usize,
        /// Bytes that fit.
        room: usize,
    },
    /// The image was read from a chip that updates itself in halves.
    #[error(
        "this was read from a board's chip, which may run from its second half: take an image as Raspberry Pi publishes it"
    )]
    LiveChip,
    /// The configuration is signed, and a change would make the signature wrong.
    #[error(
        "its configuration is signed for secure boot: only the holder of the key can change and sign it again"
    )]
    Signed,
    /// An A/B image without the two places for the time of the update.
    #[error("damaged: it has {0} places for the time of the update instead of 2")]
    NoTimestamp(usize),
}

/// The processor that an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chip {
    /// Raspberry Pi 4, 400, Compute Module 4.
    Bcm2711,
    /// Raspberry Pi 5, 500, Compute Module 5.
    Bcm2712,
}

impl Chip {
    /// Its name, as in the device tree.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bcm2711 => "bcm2711",
            Self::Bcm2712 => "bcm2712",
        }
    }

    fn of_size(size: usize) -> Option<Self> {
        match size {
            0x8_0000 => Some(Self::Bcm2711),
            0x20_0000 => Some(Self::Bcm2712),
            _ => None,
        }
    }
}

/// An EEPROM image whose sections could all be read.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    bytes: Vec<u8>,
    chip: Chip,
    sections: Vec<Section>,
}

impl fmt::Debug for Image {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Image")
            .field("chip", &self.chip)
            .field("sections", &self.sections)
            .finish_non_exhaustive()
    }
}

impl Image {
    /// Whether these bytes begin like an image, whole or not.
    #[must_use]
    pub fn begins(bytes: &[u8]) -> bool {
        be32(bytes, 0) == Some(section::MAGIC)
    }

    /// Reads an image of either processor.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, EepromError> {
        let chip = Chip::of_size(bytes.len()).ok_or(EepromError::Size(bytes.len()))?;
        let sections = section::read_all(&bytes)?;
        Ok(Self {
            bytes,
            chip,
            sections,
        })
    }

    /// The bytes of the whole image.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The processor it is for.
    #[must_use]
    pub fn chip(&self) -> Chip {
        self.chip
    }

    /// All sections, in their order.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Whether it holds the firmware in two halves.
    #[must_use]
    pub fn is_ab(&self) -> bool {
        section::is_ab(&self.bytes)
    }

    /// Whether it was read from a chip of that kind after an update: the second half or the journals are in use.
    #[must_use]
    pub fn is_live(&self) -> bool {
        let second_half_used = || {
            self.sections.iter().any(|section| {
                section.offset >= FIRST_HALF_END && section.kind != SectionKind::Padding
            })
        };
        self.is_ab()
            && (second_half_used() || self.bytes[JOURNALS..].iter().any(|byte| *byte != 0xff))
    }

    /// The content of the first file of this name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        let section = self.sections.iter().find(|section| section.is_file(name))?;
        Some(&self.bytes[section.content()])
    }

    /// The configuration, `bootconf.txt`.
    pub fn config(&self) -> Result<&[u8], EepromError> {
        let index = self.config_index()?;
        Ok(&self.bytes[self.sections[index].content()])
    }

    /// When the firmware was built: its version. The board says its own in the device tree, at
    /// `/chosen/bootloader/build-timestamp`.
    #[must_use]
    pub fn build_timestamp(&self) -> Option<u32> {
        self.number_after(b"BUILD_TIMESTAMP=")
    }

    /// The version that boards with newer parts ask for, at `/chosen/rpi-min-boot-ver` in their device tree. Images
    /// from before May 2026 have none.
    #[must_use]
    pub fn mfg_version(&self) -> Option<u32> {
        self.number_after(b"MFG_VER: ")
    }

    /// The time of the update, if one was set.
    #[must_use]
    pub fn timestamp(&self) -> Option<u32> {
        let mut places = edit::timestamp_places(self)
            .into_iter()
            .map(|place| timestamp_at(&self.bytes, place));
        let first = places.next()??;
        places.all(|other| other == Some(first)).then_some(first)
    }

    /// Whether the configuration is signed for secure boot.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.file(BOOTCONF_SIG)
            .is_some_and(|text| memmem::find(text, b"rsa2048:").is_some())
    }

    /// The section that is the configuration: the first such file that the vendor's tool would touch.
    fn config_index(&self) -> Result<usize, EepromError> {
        self.sections
            .iter()
            .position(|section| {
                section.is_file(BOOTCONF) && (FIRST_HALF..FIRST_HALF_END).contains(&section.offset)
            })
            .ok_or(EepromError::NoConfig)
    }

    /// The decimal number after this text, if the text is before only one number.
    fn number_after(&self, text: &[u8]) -> Option<u32> {
        let mut numbers = memmem::find_iter(&self.bytes, text).filter_map(|at| {
            let rest = &self.bytes[at + text.len()..];
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
        });
        let first = numbers.next()?;
        numbers.all(|other| other == first).then_some(first)
    }
}

/// A time is stored with its complement before it. All ones mean that there is none.
fn timestamp_at(bytes: &[u8], place: usize) -> Option<u32> {
    let (complement, time) = (le32(bytes, place)?, le32(bytes, place + 4)?);
    (complement == !time && time != u32::MAX).then_some(time)
}
