//! What the RK3588 boots from: the ID block that its ROM looks for, and the FIT with U-Boot behind it.
//!
//! U-Boot's build makes one file for the SPI NOR flash and one for SD cards. Neither ROM nor ID block know the board:
//! the device trees in the FIT are the only protection against a file for another board.

mod boot_targets;
mod commands;
mod flash;
mod id_block;
mod loader;

pub use boot_targets::{BootTargetsError, NVME_FIRST};
pub use commands::ShellCommand;
pub use flash::{ENVIRONMENT, FLASH_SIZE, FlashError, Layout, flash_content};
pub use id_block::{IdBlock, IdBlockError};

use std::fmt;

use thiserror::Error;

use crate::Board;
use crate::fit::{Fit, FitError};

/// Why a file cannot boot an RK3588, or not this board.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rk3588Error {
    /// The ID block is missing or damaged.
    #[error("no whole ID block at {at:#x}: {source}")]
    IdBlock {
        /// Where it should be.
        at: usize,
        /// What is wrong with it.
        source: IdBlockError,
    },
    /// The ID block reaches into the FIT.
    #[error("the ID block ends at {0:#x}, inside the FIT")]
    Overlap(usize),
    /// The FIT is missing or damaged.
    #[error(
        "no whole FIT at {at:#x}, where mainline U-Boot has it (vendor loaders and UEFI have other layouts): {source}"
    )]
    Fit {
        /// Where it should be.
        at: usize,
        /// What is wrong with it.
        source: FitError,
    },
    /// The file does not fit where it belongs.
    #[error("its {length} bytes do not fit: at most {limit}")]
    TooLong {
        /// Bytes of the file.
        length: usize,
        /// Bytes that there is room for.
        limit: usize,
    },
    /// The FIT is for other boards.
    #[error("it is for {}, not for {wanted}", list(found))]
    WrongBoard {
        /// The boards of its device trees.
        found: Vec<String>,
        /// The board that was asked for.
        wanted: String,
    },
}

fn list(names: &[String]) -> String {
    match names {
        [] => "no board that it names".to_owned(),
        names => names.join(", "),
    }
}

/// What a file is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// `u-boot-rockchip-spi.bin`, at the start of the SPI NOR flash.
    Spi,
    /// `u-boot-rockchip.bin`, at sector 64 of an SD card.
    Card,
}

impl Medium {
    /// Where the ID block begins in the file.
    #[must_use]
    pub fn id_block_offset(self) -> usize {
        match self {
            Self::Spi => 0x8000,
            Self::Card => 0,
        }
    }

    /// Where the FIT begins in the file.
    #[must_use]
    pub fn fit_offset(self) -> usize {
        match self {
            Self::Spi => 0x6_0000,
            // Sector 16384 of the card.
            Self::Card => 0x7f_8000,
        }
    }

    /// The longest file there is room for: the flash, or what lies before the card's first partition at 16 MiB.
    #[must_use]
    pub fn limit(self) -> usize {
        match self {
            Self::Spi => FLASH_SIZE,
            Self::Card => FLASH_SIZE - 64 * 512,
        }
    }
}

/// A file that an RK3588 can boot, with all its hashes right.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    bytes: Vec<u8>,
    medium: Medium,
    id_block: IdBlock,
    fit: Fit,
}

impl fmt::Debug for Image {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Image")
            .field("medium", &self.medium)
            .field("length", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl Image {
    /// Reads a file made for this medium, and checks all of it that can be checked.
    pub fn parse(bytes: Vec<u8>, medium: Medium) -> Result<Self, Rk3588Error> {
        let at = medium.id_block_offset();
        let id_block = IdBlock::parse(bytes.get(at..).unwrap_or_default())
            .map_err(|source| Rk3588Error::IdBlock { at, source })?;
        let end = at + id_block.length;
        let at = medium.fit_offset();
        if end > at {
            return Err(Rk3588Error::Overlap(end));
        }
        let fit = Fit::parse(bytes.get(at..).unwrap_or_default())
            .map_err(|source| Rk3588Error::Fit { at, source })?;
        if bytes.len() > medium.limit() {
            return Err(Rk3588Error::TooLong {
                length: bytes.len(),
                limit: medium.limit(),
            });
        }
        Ok(Self {
            bytes,
            medium,
            id_block,
            fit,
        })
    }

    /// The bytes of the whole file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it is written to.
    #[must_use]
    pub fn medium(&self) -> Medium {
        self.medium
    }

    /// Its ID block.
    #[must_use]
    pub fn id_block(&self) -> &IdBlock {
        &self.id_block
    }

    /// Its FIT.
    #[must_use]
    pub fn fit(&self) -> &Fit {
        &self.fit
    }

    /// The boards that it is for.
    #[must_use]
    pub fn boards(&self) -> Vec<String> {
        self.fit.boards()
    }

    /// Refuses a file that has no device tree for this board.
    pub fn validate_for(&self, board: &Board) -> Result<(), Rk3588Error> {
        let mut entries = self.fit.images.iter().flat_map(|image| &image.compatible);
        if entries.any(|entry| entry == board.identity()) {
            return Ok(());
        }
        Err(Rk3588Error::WrongBoard {
            found: self.boards(),
            wanted: board.identity().to_owned(),
        })
    }
}
