//! A stand-in for the boot EEPROM of a Raspberry Pi 5, and for the boot ROM that updates it from the card.
//!
//! The vendor's programs do not run here. The stand-in does what the vendor documents. The ROM looks for `recovery.bin` in the root of the
//! card before it looks at the EEPROM. That program checks `pieeprom.upd` against `pieeprom.sig`, writes it, renames itself to
//! `recovery.000` and restarts the board. The firmware shows Linux which version it is.

use anyhow::{Context, Result, ensure};
use gild_boards::rpi_eeprom::{BootOrder, Image, Signature};
use gild_boards_testkit as vendor;
use gild_card::firmware::{self, Rpi5};

use crate::card::Card;

/// When the firmware of a new board was built, and the newer firmware that goes on cards.
const BUILT: [u32; 2] = [1_700_000_000, 1_780_000_000];
/// The same of a board that was made in 2025.
const BUILT_IN_2025: u32 = 1_745_000_000;
/// Firmware built since this time knows `set_reboot_order`: 2025-01-14.
const KNOWS_REBOOT_ORDER: u32 = 1_736_812_800;

/// What the EEPROM holds.
#[derive(Clone, Debug)]
pub struct Eeprom {
    image: Image,
    /// The time of the last update, as the `.sig` had it.
    update: u32,
}

/// The files that `gild card build` makes from the vendor's.
pub fn files_for_the_card() -> Result<Rpi5> {
    let (upd, sig) = firmware::eeprom(published(BUILT[1])?)?;
    let recovery = firmware::recovery(recovery())?;
    Ok(Rpi5 { upd, sig, recovery })
}

/// A stand-in for the vendor's image, built at this time.
fn published(built: u32) -> Result<Vec<u8>> {
    let mut image = vendor::eeprom_2712();
    let version = format!("BUILD_TIMESTAMP={built}\0");
    image[0x2000..0x2000 + version.len()].copy_from_slice(version.as_bytes());
    Ok(Image::parse(image)?.bytes().to_vec())
}

/// A stand-in for the vendor's program.
fn recovery() -> Vec<u8> {
    vendor::pattern(40_000)
}

impl Eeprom {
    /// As the factory leaves it.
    pub fn new() -> Result<Self> {
        Self::built(BUILT[0])
    }

    /// The same for a board whose firmware obeys the order for one restart.
    pub fn of_2025() -> Result<Self> {
        Self::built(BUILT_IN_2025)
    }

    fn built(time: u32) -> Result<Self> {
        let image = Image::parse(published(time)?)?;
        let update = image.build_timestamp().context("no version")?;
        Ok(Self { image, update })
    }

    /// The configuration, which the firmware shows to Linux.
    pub fn config(&self) -> Result<&str> {
        Ok(std::str::from_utf8(self.image.config()?)?)
    }

    /// Changes the configuration by hand, as with `rpi-eeprom-config`.
    pub fn set_config(&mut self, config: &str) -> Result<()> {
        Ok(self.image.set_config(config.as_bytes())?)
    }

    /// Where the firmware looks first at a cold start.
    pub fn boot_order(&self) -> Result<BootOrder> {
        BootOrder::of(self.image.config()?).context("a configuration without a boot order")
    }

    /// Whether the firmware does `set_reboot_order`.
    #[must_use]
    pub fn knows_reboot_order(&self) -> bool {
        let built = self.image.build_timestamp();
        built.is_some_and(|built| built >= KNOWS_REBOOT_ORDER)
    }

    /// What the firmware adds to the device tree.
    #[must_use]
    pub fn device_tree(&self) -> String {
        let build = self.image.build_timestamp().unwrap_or_default();
        let update = self.update;
        format!(
            "chosen {{ bootloader {{ build-timestamp = <{build}>; update-timestamp = <{update}>; }}; }};"
        )
    }

    /// What the ROM does at every start, cold or warm. Returns whether it updated the EEPROM.
    pub fn start(&mut self, card: &Card) -> Result<bool> {
        let Some(found) = card.get("recovery.bin")? else {
            return Ok(false);
        };
        ensure!(
            found == recovery(),
            "the ROM would run a recovery.bin that is not whole"
        );
        let upd = card
            .get("pieeprom.upd")?
            .context("no pieeprom.upd beside recovery.bin")?;
        let sig = Signature::parse(&card.read("pieeprom.sig")?)?;
        ensure!(
            sig.matches(&upd),
            "the update would end with a red screen: wrong digest"
        );
        self.image = Image::parse(upd)?;
        self.update = sig.timestamp.context("no time in pieeprom.sig")?;
        card.rename("recovery.bin", "recovery.000")?;
        Ok(true)
    }
}
