//! What the whole SPI NOR flash of a board should hold.

use std::ops::Range;

use thiserror::Error;

use super::{Image, Medium};

/// Bytes of the boards' SPI NOR flash.
pub const FLASH_SIZE: usize = 16 << 20;
/// Where a U-Boot with an environment in this flash keeps it, as Armbian builds it. An environment that an earlier U-Boot left
/// there would override the boot order.
pub const ENVIRONMENT: Range<usize> = 0xc0_0000..0xc2_0000;

/// Where the parts of a SPI NOR flash are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of the flash.
    pub size: usize,
    /// Where a U-Boot may keep its environment.
    pub environment: Range<usize>,
}

impl Layout {
    /// That of the boards.
    pub const BOARDS: Self = Self {
        size: FLASH_SIZE,
        environment: ENVIRONMENT,
    };
}

/// Why an image cannot be written to a flash.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FlashError {
    /// The boards do not have such a flash.
    #[error(
        "the flash has {0} bytes instead of {FLASH_SIZE}: it is not the boot flash of this board"
    )]
    Size(usize),
    /// The file is for SD cards.
    #[error("the file is made for an SD card: the flash takes u-boot-rockchip-spi.bin")]
    Medium,
    /// The image and the environment do not fit side by side.
    #[error("an image of {image} bytes and an environment of {environment} do not fit together")]
    Environment {
        /// Bytes of the image.
        image: usize,
        /// Bytes of the environment.
        environment: usize,
    },
}

/// The image at the start, the environment or nothing at its offset, and the rest as it is. [`crate::nor::plan`] says
/// how to get there, with the [ID block](Medium::id_block_offset) as what is written last.
pub fn flash_content(
    current: &[u8],
    layout: &Layout,
    image: &Image,
    environment: Option<&[u8]>,
) -> Result<Vec<u8>, FlashError> {
    if current.len() != layout.size {
        return Err(FlashError::Size(current.len()));
    }
    if image.medium() != Medium::Spi {
        return Err(FlashError::Medium);
    }
    let end = image.bytes().len();
    let place = layout.environment.clone();
    let environment = environment.unwrap_or_default();
    let is_apart = environment.is_empty() || end <= place.start;
    if environment.len() > place.len() || !is_apart {
        return Err(FlashError::Environment {
            image: end,
            environment: environment.len(),
        });
    }
    let mut wanted = current.to_vec();
    wanted[place.clone()].fill(0xff);
    wanted[place.start..][..environment.len()].copy_from_slice(environment);
    wanted[..end].copy_from_slice(image.bytes());
    Ok(wanted)
}
