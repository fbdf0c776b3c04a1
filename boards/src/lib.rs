//! What a board is, and the formats of its firmware. No I/O: bytes in, data out.
//!
//! Each supported board has one folder of data beside this crate's `src`. The data is compiled in.

mod board;
mod boot_firmware;
mod cpu_id;
mod detect;
pub mod device_tree;
pub mod dtbo;
mod fdt;
pub mod fit;
pub mod mac;
pub mod nor;
pub mod rk3588;
pub mod rpi_eeprom;
pub mod uboot_env;
pub mod uboot_script;
mod wire;

use std::sync::LazyLock;

pub use board::{Board, Card, Console, Module, Relative, Stepping, Watchdog};
pub use boot_firmware::BootFirmware;
pub use cpu_id::CpuId;
pub use detect::{UnknownBoard, detect};

/// Every board's folder and its data file.
const DATA: [(&str, &str); 2] = [
    ("rpi5", include_str!("../rpi5/board.toml")),
    ("rock5b", include_str!("../rock5b/board.toml")),
];

static BOARDS: LazyLock<Vec<Board>> = LazyLock::new(|| {
    let load = |(folder, text)| match Board::parse(text) {
        Ok(board) => board,
        // The data is part of the program and the tests read all of it, so this is a mistake in the program.
        Err(error) => panic!("boards/{folder}/board.toml: {error}"),
    };
    DATA.into_iter().map(load).collect()
});

/// All supported boards.
#[must_use]
pub fn all() -> &'static [Board] {
    &BOARDS
}

/// The board of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Board> {
    all().iter().find(|board| board.name == name)
}

/// The boards that this kind of firmware starts.
pub fn with_firmware(firmware: BootFirmware) -> impl Iterator<Item = &'static Board> {
    all()
        .iter()
        .filter(move |board| board.boot_firmware == firmware)
}

/// The `compatible` of a device tree: the board's own entry first.
pub fn device_tree_compatible(dtb: &[u8]) -> Result<Vec<String>, fit::DeviceTreeError> {
    fdt::Fdt::new(dtb)?.compatible()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_s_data_is_sane_and_in_the_folder_of_its_name() {
        for (folder, text) in DATA {
            let board = Board::parse(text)
                .unwrap_or_else(|error| panic!("boards/{folder}/board.toml: {error}"));
            assert_eq!(board.name, folder);
            assert_eq!(by_name(folder), Some(&board));
        }
        assert_eq!(by_name("rpi"), None);
    }

    #[test]
    fn boards_with_one_firmware_share_its_console() {
        // The card has one file of kernel arguments for each kind of firmware.
        for board in all() {
            for other in with_firmware(board.boot_firmware) {
                assert_eq!(
                    board.console, other.console,
                    "{}, {}",
                    board.name, other.name
                );
            }
        }
    }

    #[test]
    fn no_supported_board_is_listed_as_a_relative_that_is_not_supported() {
        for board in all() {
            for relative in &board.relatives {
                let known = all()
                    .iter()
                    .find(|one| one.identity() == relative.compatible);
                assert_eq!(
                    known.map(|known| &known.name),
                    None,
                    "boards/{}/board.toml",
                    board.name
                );
            }
        }
    }

    #[test]
    fn no_two_boards_share_an_identity() {
        for (position, board) in all().iter().enumerate() {
            for other in &all()[..position] {
                assert!(
                    !other
                        .compatible
                        .iter()
                        .any(|entry| entry == board.identity())
                );
                assert!(
                    !board
                        .compatible
                        .iter()
                        .any(|entry| entry == other.identity())
                );
            }
        }
    }
}
