//! Step 2, board: what this machine is, and the kernel modules it needs.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use gild_boards::{Board, UnknownBoard};
use log::{info, warn};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use crate::machine::Machine;

const COMPATIBLE: &str = "/proc/device-tree/compatible";
/// One file for each board: paths of modules, in load order.
const MODULE_LISTS: &str = "/etc/gild/modules";

/// This machine is none that is supported.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// There is no device tree.
    #[error(
        "cannot read {COMPATIBLE}: {0}; this machine has no device tree, and no supported board is without"
    )]
    NoDeviceTree(io::Error),
    /// Another board.
    #[error(transparent)]
    Unknown(#[from] UnknownBoard),
}

/// The board this is, whatever its drivers.
pub fn detect() -> Result<&'static Board, BoardError> {
    let compatible = fs::read(COMPATIBLE).map_err(BoardError::NoDeviceTree)?;
    Ok(gild_boards::detect(&compatible)?)
}

/// Finds out which board this is, and gets its drivers, LED and watchdog working.
pub fn identify(machine: &Machine) -> Result<&'static Board, BoardError> {
    let board = detect()?;
    info!("board {} ({})", board.name, board.model);
    load_modules(&Path::new(MODULE_LISTS).join(&board.name));
    machine.led.attach(&board.leds);
    machine.start_watchdog();
    Ok(board)
}

/// Loads what can be loaded. A driver that is missing shows itself later, by the device that is missing.
fn load_modules(list: &Path) {
    let modules = match fs::read_to_string(list) {
        Ok(text) => text,
        Err(error) => {
            warn!(
                "no kernel modules are loaded: cannot read {}: {error}",
                list.display()
            );
            return;
        }
    };
    for path in modules.lines().filter(|line| !line.is_empty()) {
        if let Err(error) = load(Path::new(path)) {
            warn!("kernel module {path} was not loaded: {error}");
        }
    }
}

fn load(path: &Path) -> io::Result<()> {
    match finit_module(File::open(path)?, c"", ModuleInitFlags::empty()) {
        // Loaded or built in already, or its hardware is not there.
        Ok(()) | Err(Errno::EEXIST | Errno::ENODEV) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The board's serial number, where its firmware hands one on.
pub fn serial() -> Option<String> {
    let bytes = fs::read("/proc/device-tree/serial-number").ok()?;
    let text = String::from_utf8(bytes).ok()?;
    Some(text.trim_end_matches('\0').to_owned()).filter(|text| !text.is_empty())
}
