//! The order in which a board's firmware looks for something to start, read from the firmware itself.

use std::fmt;

use anyhow::{Context, Result};
use gild_boards::rpi_eeprom::BootOrder;
use gild_tests::board_dtb::Product;
use gild_tests::scene::Scene;

/// The order of one board.
#[derive(Clone, Debug)]
pub enum Order {
    /// `BOOT_ORDER` in the EEPROM.
    Eeprom(BootOrder),
    /// `boot_targets` in U-Boot's environment.
    Environment(String),
}

impl Order {
    /// What the firmware holds now.
    pub fn of(scene: &Scene) -> Result<Self> {
        if let Some(u_boot) = &scene.hardware.u_boot {
            let environment = u_boot.environment()?;
            let order = environment.get("boot_targets").context("no boot_targets")?;
            return Ok(Self::Environment(
                String::from_utf8_lossy(order).into_owned(),
            ));
        }
        let eeprom = scene.hardware.eeprom.as_ref().context("no EEPROM")?;
        Ok(Self::Eeprom(eeprom.boot_order()?))
    }

    /// Whether the disk is looked at before everything else.
    pub fn is_nvme_first(&self) -> bool {
        match self {
            Self::Eeprom(order) => order.is_nvme_first(),
            Self::Environment(order) => order.split_whitespace().next() == Some("nvme"),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eeprom(order) => write!(out, "BOOT_ORDER={order}"),
            Self::Environment(order) => write!(out, "boot_targets=\"{order}\""),
        }
    }
}

/// What stands in for the board's firmware.
pub fn who_plays_the_firmware(product: Product) -> &'static str {
    match product {
        Product::Rpi5 => {
            "firmware: this program plays the ROM, the EEPROM and recovery.bin, as the vendor documents them; none of the vendor's programs runs"
        }
        Product::Rock5b | Product::Unknown => {
            "firmware: Debian's U-Boot for QEMU runs instead of the board's own; its settings are in a flash chip, and the card is on virtio"
        }
    }
}

/// Lines on the console that look like failures but are not.
pub fn expected_complaints(product: Product) -> Option<&'static str> {
    match product {
        Product::Rpi5 => None,
        Product::Rock5b | Product::Unknown => Some(
            "expected below, and not a failure: U-Boot's `Boot failed (err=-14)` and `no kernel available`, because it first asks EFI and QEMU, which have nothing to start, and the disk is empty at first; the kernel's lines about `rockchip-sfc`, because the virtual board has another flash controller",
        ),
    }
}

/// What made the change take effect.
pub fn who_changed_it(product: Product) -> &'static str {
    match product {
        Product::Rpi5 => {
            "the played ROM found recovery.bin on the card, wrote the agent's update to the EEPROM, and the EEPROM's order starts the NVMe disk"
        }
        Product::Rock5b | Product::Unknown => {
            "U-Boot read the order that the agent wrote to its flash, and starts the NVMe disk"
        }
    }
}
