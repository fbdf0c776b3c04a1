//! What the card calls its parts. The agent, the builder of the card and U-Boot's script know them by these names.

/// The partition's label, by which the agent finds the card.
pub const LABEL: &str = "GILD";
/// What the operator sets.
pub const CONFIG: &str = "gild.toml";
/// An order to flash, in its own file.
pub const ORDER: &str = "gild-order.txt";
/// What the kernel calls an SD card in `device/type` of its block device. A built-in eMMC is `MMC`.
pub const SD_CARD: &str = "SD";
/// The least rollback counters, a line `<board>=<counter>` for each kind of board.
pub const ROLLBACK: &str = "rollback.env";
/// The highest rollback counters of images whose signature fitted a key of the card, in the same form.
pub const SIGNED: &str = "signed.env";
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

/// What the ROM of a Raspberry Pi 5 looks for on the card: the image of the EEPROM, its signature, and the program that
/// writes it.
pub const UPD: &str = "pieeprom.upd";
/// See [`UPD`].
pub const SIG: &str = "pieeprom.sig";
/// See [`UPD`].
pub const RECOVERY: &str = "recovery.bin";
/// [`RECOVERY`] until it has been read back: the ROM does not look for this name.
pub const RECOVERY_BEFORE: &str = "recovery.tmp";

/// How the names of backups of boot flash end: half a file has another name.
pub const BACKUP: &str = ".bin";
/// How those of whole flashes end: a card has room for some dozens of them as they are, which is how earlier agents kept
/// them, and for hundreds of packed ones.
pub const PACKED_BACKUP: &str = ".bin.zst";
/// How the name of the mark ends that a change of boot flash has begun.
pub const WRITING: &str = ".writing";

/// The name of a board that has neither an address nor a serial number.
pub const UNKNOWN: &str = "unknown";

/// The board's serial number as a part of a file's name, else this.
#[must_use]
pub fn file_id(serial: Option<String>, otherwise: &str) -> String {
    serial
        .map(|serial| {
            let word = |c: &char| c.is_ascii_alphanumeric();
            serial.chars().filter(word).take(32).collect::<String>()
        })
        .filter(|serial| !serial.is_empty())
        .unwrap_or_else(|| otherwise.to_owned())
}

/// The receipt of one node, for people.
#[must_use]
pub fn receipt_text(id: &str) -> String {
    format!("gild-{id}.txt")
}

/// The receipt of one node, for programs.
#[must_use]
pub fn receipt_json(id: &str) -> String {
    format!("gild-{id}.json")
}

/// The receipts of one node that the status URL has not taken, one a line.
#[must_use]
pub fn unsent_receipts(id: &str) -> String {
    format!("gild-{id}.unsent")
}

/// The last lines of one node's console.
#[must_use]
pub fn console_log(id: &str) -> String {
    format!("gild-{id}.log")
}

/// The loop guard's count for one node.
#[must_use]
pub fn loop_count(id: &str) -> String {
    format!("gild-{id}.boot")
}

/// The NVMe disks that one node has.
#[must_use]
pub fn disk_list(id: &str) -> String {
    format!("gild-{id}.disks")
}

/// The count of restarts that faults of one node asked for.
#[must_use]
pub fn restart_count(id: &str) -> String {
    format!("gild-{id}.restarts")
}

/// The count of updates of one board's EEPROM.
#[must_use]
pub fn eeprom_count(id: &str) -> String {
    format!("gild-{id}.eeprom")
}

/// How the names of the files about one board's boot flash begin.
#[must_use]
pub fn flash_stem(serial: &str) -> String {
    format!("flash-{serial}")
}

/// How the names of the files about one board's U-Boot environment begin.
#[must_use]
pub fn environment_stem(serial: &str) -> String {
    format!("env-{serial}")
}
