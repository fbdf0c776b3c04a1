//! What the card calls its parts. The agent, the builder of the card and U-Boot's script know them by these names.

/// The partition's label, by which the agent finds the card.
pub const LABEL: &str = "GILD";
/// What the operator sets.
pub const CONFIG: &str = "gild.toml";
/// The folder of the files that update a Raspberry Pi's EEPROM, and the files: the image, its signature, and the vendor's
/// program that writes it.
pub const EEPROM_FILES: [&str; 3] = [
    "firmware/rpi5/pieeprom.upd",
    "firmware/rpi5/pieeprom.sig",
    "firmware/rpi5/recovery.bin",
];
/// What the agent writes to the boot flash of a board with an RK3588.
pub const SPI_IMAGE: &str = "firmware/rock5b/u-boot-rockchip-spi.bin";
/// Byte of the card at which the ROM of an RK3588 looks for U-Boot: sector 64
/// (<https://opensource.rock-chips.com/wiki_Boot_option>).
pub const U_BOOT_AT: u64 = 64 * 512;
