//! A stand-in for the boot EEPROM of a Raspberry Pi 5, and for the boot ROM that updates it from the card.
//!
//! None of the vendor's programs run here. It does what the vendor documents of them: the ROM looks for `recovery.bin` in
//! the root of the card before it looks at the EEPROM; that program checks `pieeprom.upd` against `pieeprom.sig`, writes
//! it, renames itself to `recovery.000` and restarts the board; the firmware tells Linux what it is.

use anyhow::{Context, Result, ensure};
use gild_boards::rpi_eeprom::{BootOrder, Image, Signature};

use crate::card::Card;

/// What the EEPROM holds.
#[derive(Clone, Debug)]
pub struct Eeprom {
    image: Image,
    /// The time of the last update, as the `.sig` had it.
    update: u32,
}

impl Eeprom {
    /// An EEPROM with this image.
    pub fn new(image: Vec<u8>) -> Result<Self> {
        let image = Image::parse(image)?;
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
        BootOrder::of(self.config()?).context("a configuration without a boot order")
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

    /// What the ROM does at every start, cold or warm; gives whether it updated the EEPROM.
    pub fn start(&mut self, card: &Card, recovery: &[u8]) -> Result<bool> {
        let Some(found) = card.get("recovery.bin")? else {
            return Ok(false);
        };
        ensure!(
            found == recovery,
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
