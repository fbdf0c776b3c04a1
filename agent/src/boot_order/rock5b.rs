//! Rock 5B: the boot order is in U-Boot, and U-Boot is in the SPI NOR flash.
//!
//! The whole image is written, with the NVMe first in its built-in order. If the card has no image, the order is set in the environment of
//! a U-Boot that has one. Either way, what makes the flash valid is erased first and written last. Until then the processor's ROM or U-Boot
//! falls back to something that starts this agent again.

use std::path::Path;

use gild_boards::nor::{PAGE, is_interrupted};
use gild_boards::rk3588::{
    FLASH_SIZE, IdBlock, IdBlockError, Image, Layout, Medium, flash_content,
};
use gild_card_format::names::{SPI_IMAGE, U_BOOT_AT, file_id};
use gild_disk::mtd::NorFlash;
use log::info;

use super::mark::{self, What};
use super::nor::{Device, Nor, Part, devices, read_all, rewrite};
use super::{BootOrder, BootOrderError, Firmware, Job, Kind, backup, environment, firmware};
use crate::card::Card;
use crate::{board, gate};

/// The controller that the boot flash is connected to.
const CONTROLLER: &str = "rockchip,sfc";
/// A partition that the device tree declares to hold U-Boot's environment.
const ENVIRONMENT_NODE: &str = "u-boot,env";

const REMAKE: &str =
    "make the card again with --rock5b-spi and a u-boot-rockchip-spi.bin for the Rock 5B";
const STAYS_IN: &str =
    "leave this card in the slot: it starts the disk; or set up the boot flash by hand";

/// The flash that this board has.
pub struct Flash<'a> {
    /// The one that the processor starts from.
    pub boot: Option<&'a dyn Nor>,
    /// Where its parts are.
    pub layout: &'a Layout,
    /// What the device tree declares to be U-Boot's environment.
    pub environment: Option<&'a dyn Nor>,
    /// Whether the card has a U-Boot for this board that starts when the flash has none. It can do so in the board's own slot alone.
    pub card_starts: &'a dyn Fn() -> bool,
}

/// The SPI flash of the board that the agent runs on.
pub struct SpiFlash;

impl Firmware for SpiFlash {
    fn set(&self, job: &Job, card: &Card) -> Result<BootOrder, BootOrderError> {
        let all = devices(Path::new("/sys"));
        let open = |device: &Device| {
            info!("flash {}, {} bytes", device.name, device.size);
            NorFlash::open(&device.path()).map_err(|error| {
                BootOrderError::failed(format!("opening {}: {error}", device.name))
            })
        };
        let find = |is_it: &dyn Fn(&&Device) -> bool| all.iter().find(is_it).map(open).transpose();
        let boot = find(&|device| is_boot_flash(device))?;
        let environment = find(&|device| is_environment(device))?;
        let flash = Flash {
            boot: boot.as_ref().map(|flash| flash as &dyn Nor),
            layout: &Layout::BOARDS,
            environment: environment.as_ref().map(|flash| flash as &dyn Nor),
            card_starts: &|| {
                let u_boot = card.read_disk(U_BOOT_AT, Medium::Card.limit()).ok();
                u_boot.is_some_and(|bytes| is_for_this_board(job, bytes, Medium::Card).is_ok())
            },
        };
        let serial = file_id(board::serial(), &job.id);
        set(job, &flash, &serial)
    }

    fn runs_script(&self) -> bool {
        true
    }

    /// U-Boot starts the card's script, and the script decides.
    fn knows_reboot_order(&self) -> bool {
        false
    }
}

fn is_boot_flash(device: &Device) -> bool {
    device.size == FLASH_SIZE && device.parents.iter().any(|entry| entry == CONTROLLER)
}

fn is_environment(device: &Device) -> bool {
    device.own.iter().any(|entry| entry == ENVIRONMENT_NODE)
}

/// Sets the order in the flash, unless it is right already.
pub fn set(job: &Job, flash: &Flash, serial: &str) -> Result<BootOrder, BootOrderError> {
    let file = firmware::read(job.card, [SPI_IMAGE])?;
    match (file, flash.boot) {
        (Some([file]), Some(boot)) => {
            let image = write_image(job, boot, file, flash, serial)?;
            // A valid environment would override the order that is built into the image.
            match flash.environment {
                Some(declared) if has_environment(job, declared, serial)? => {
                    let order = environment::set(job, declared, serial)?;
                    Ok(if order == BootOrder::AlreadyRight {
                        image
                    } else {
                        order
                    })
                }
                _ => {
                    mark::remove(job, What::Environment, serial);
                    Ok(image)
                }
            }
        }
        (Some(_), None) if flash.environment.is_none() => Err(BootOrderError::not_possible(
            "the kernel shows no boot flash (16 MiB of NOR at the controller rockchip,sfc)",
            STAYS_IN,
        )),
        _ => without_file(job, flash, serial),
    }
}

fn write_image(
    job: &Job,
    boot: &dyn Nor,
    file: Vec<u8>,
    flash: &Flash,
    serial: &str,
) -> Result<BootOrder, BootOrderError> {
    let image = is_for_this_board(job, file, Medium::Spi).map_err(|reason| {
        BootOrderError::not_possible(
            format!("{SPI_IMAGE} on the card cannot be used: {reason}"),
            REMAKE,
        )
    })?;
    let current = read_all(boot)?;
    let wanted_of = |before: &[u8]| {
        flash_content(before, flash.layout, &image, None)
            .map_err(|error| BootOrderError::not_possible(error.to_string(), STAYS_IN))
    };
    // Another U-Boot with the right order is just as good, and may be newer.
    let is_right = !environment::is_valid(&current[flash.layout.environment.clone()])
        && is_for_this_board(job, current.clone(), Medium::Spi).is_ok();
    if is_right || current == wanted_of(&current)? {
        mark::remove(job, What::Flash, serial);
        return Ok(BootOrder::AlreadyRight);
    }
    let commit = Medium::Spi.id_block_offset();
    let interrupted = backup::flash_before(job, boot.size(), serial)?.filter(|before| {
        wanted_of(before)
            .is_ok_and(|wanted| is_interrupted(&current, before, &wanted, boot.block(), commit))
    });
    let starts = interrupted.is_none() && may_start(&current);
    if starts && !(job.is_boot_medium && (flash.card_starts)()) {
        return Err(BootOrderError::not_possible(
            "the card has no U-Boot or is not in the board's slot, and if the power went while the boot flash is written nothing would start the board",
            "make the card again with --rock5b-u-boot as well, and put it into the board's slot",
        ));
    }
    // A flash that a power cut has left half written is always completed. A U-Boot that is not the mainline one for this board may not be
    // able to start the disk: the vendor's cannot unpack the kernel.
    let is_foreign = starts
        && Image::parse(current.clone(), Medium::Spi)
            .map_or(true, |found| found.validate_for(job.board).is_err());
    if !job.standing.is_proven()
        && interrupted.is_none()
        && !(job.standing.came_back() && is_foreign)
    {
        return Err(BootOrderError::waits());
    }
    // The bytes around the image stay, even those that share its last block.
    let before = interrupted.as_ref().unwrap_or(&current);
    let wanted = wanted_of(before)?;
    backup::of_flash(job, before, serial, starts)?;
    mark::put(job, What::Flash, serial, before)?;
    gate::close(job.card, job.board)?;
    info!("writing the boot flash");
    rewrite(boot, &current, &wanted, commit, job.alive)?;
    mark::remove(job, What::Flash, serial);
    (job.changed)("the boot flash holds the U-Boot of the card now".to_owned());
    Ok(BootOrder::Written)
}

/// Whether the ROM may find something to start in the flash. A content that this program cannot read may be from another vendor.
fn may_start(flash: &[u8]) -> bool {
    let block = &flash[Medium::Spi.id_block_offset()..];
    match IdBlock::parse(block) {
        Ok(_) | Err(IdBlockError::Header) => true,
        Err(IdBlockError::Magic) => block[..PAGE].iter().any(|byte| *byte != 0xff),
        Err(_) => false,
    }
}

/// What can be done with the present content of the flash.
fn without_file(job: &Job, flash: &Flash, serial: &str) -> Result<BootOrder, BootOrderError> {
    let declared = flash
        .environment
        .map(|environment| environment::set(job, environment, serial));
    match &declared {
        // A U-Boot that has never saved its environment may have the right order built in.
        Some(Err(error)) if error.kind == Kind::NotPossible && flash.boot.is_some() => {}
        Some(outcome) => return outcome.clone(),
        None => {}
    }
    if let Some(boot) = flash.boot {
        let content = read_all(boot)?;
        let place = flash.layout.environment.clone();
        let part = Part { flash: boot, place };
        let is_there = has_environment(job, &part, serial)?;
        if !is_there && is_for_this_board(job, content, Medium::Spi).is_ok() {
            return Ok(BootOrder::AlreadyRight);
        }
        if is_there || backup::environment(job, serial)?.is_some() {
            return environment::set(job, &part, serial);
        }
    }
    declared.unwrap_or_else(|| {
        Err(BootOrderError::known(
            "the card has no u-boot-rockchip-spi.bin for the boot flash of the Rock 5B",
            "leave the card in the slot: it starts the disk; or make the card with --rock5b-spi",
        ))
    })
}

/// Whether U-Boot has an environment here, or had one before a power cut interrupted a change.
fn has_environment(job: &Job, flash: &dyn Nor, serial: &str) -> Result<bool, BootOrderError> {
    let current = read_all(flash)?;
    let is_valid = environment::is_valid(&current);
    Ok(is_valid || environment::interrupted(job, flash, &current, serial)?.is_some())
}

/// Whether these bytes start this board. In the SPI flash they must also try the NVMe first.
fn is_for_this_board(job: &Job, bytes: Vec<u8>, medium: Medium) -> Result<Image, String> {
    let image = Image::parse(bytes, medium).map_err(|error| error.to_string())?;
    image
        .validate_for(job.board)
        .map_err(|error| error.to_string())?;
    if medium == Medium::Spi
        && !image
            .is_nvme_then_card()
            .map_err(|error| error.to_string())?
    {
        return Err("it does not have the NVMe disk first and the card after it".to_owned());
    }
    Ok(image)
}

#[cfg(test)]
mod cuts;
#[cfg(test)]
mod tests;
