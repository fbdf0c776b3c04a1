//! What starts a board, and where its boot order is.

use serde::Deserialize;

/// A kind of boot firmware. Code that depends on it is a `match` over all kinds, so the compiler names every place for a
/// new kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootFirmware {
    /// The Raspberry Pi's bootloader. Its boot order is in an EEPROM, which the boot ROM updates from files on the card.
    RpiEeprom,
    /// U-Boot for the RK3588. Its boot order is in its environment or its image, both in SPI NOR memory.
    Rk3588Spi,
}
