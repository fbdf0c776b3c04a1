//! Step 2, board: find out which board this is, and load the kernel modules that it needs.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use gild_boards::{Board, UnknownBoard};
use gild_faults::{Fault, HasFault};
use log::{info, warn};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use crate::failure::StepError;
use crate::machine::Machine;
use crate::watchdog;

const COMPATIBLE: &str = "/proc/device-tree/compatible";
/// One file for each board: paths of modules, in load order.
/// This machine is not a supported board.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// There is no device tree.
    #[error(
        "cannot read {COMPATIBLE}: {0}; this machine has no device tree; every supported board has one"
    )]
    NoDeviceTree(io::Error),
    /// Another board.
    #[error(transparent)]
    Unknown(#[from] UnknownBoard),
}

impl HasFault for BoardError {
    fn fault(&self) -> Fault {
        Fault::UnsupportedBoard
    }
}

impl StepError for BoardError {}

/// The board that this is, whether its drivers work or not.
pub fn detect() -> Result<&'static Board, BoardError> {
    let compatible = fs::read(COMPATIBLE).map_err(BoardError::NoDeviceTree)?;
    Ok(gild_boards::detect(&compatible)?)
}

/// Finds out which board this is, and gets its drivers, LED and watchdog to work.
pub fn identify(machine: &Machine) -> Result<&'static Board, BoardError> {
    let board = detect()?;
    info!("board {} ({})", board.name, board.model);
    load_modules(machine, &Path::new("/").join(board.module_list()));
    machine.led.attach(&board.leds);
    if let Err(error) = machine.start_watchdog() {
        warn!("no watchdog: cannot open {}: {error}", watchdog::DEVICE);
    }
    Ok(board)
}

/// Loads the modules that can be loaded. If a driver is missing, a later step notices that its device is missing.
///
/// The watchdog's driver is the first of the list, and the watchdog starts with it: a driver that hangs must not leave the node dead.
fn load_modules(machine: &Machine, list: &Path) {
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
    let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    for path in modules.lines().filter(|line| !line.is_empty()) {
        if let Err(error) = load(Path::new(path), &command_line) {
            warn!("kernel module {path} was not loaded: {error}");
        }
        // An error is reported later, when all drivers are loaded.
        let _ = machine.start_watchdog();
        machine.alive();
    }
}

fn load(path: &Path, command_line: &str) -> io::Result<()> {
    let parameters = CString::new(parameters(path, command_line))?;
    match finit_module(File::open(path)?, &parameters, ModuleInitFlags::empty()) {
        // The module is loaded or built in already, or its hardware is missing.
        Ok(()) | Err(Errno::EEXIST | Errno::ENODEV) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A module's parameters. The kernel leaves those on its command line to the program that loads the module. In the module's name `-` and
/// `_` mean the same. If a parameter has several values, the last one counts.
fn parameters(path: &Path, command_line: &str) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let module = stem.replace('-', "_");
    let given = command_line.split_whitespace().filter_map(|word| {
        let (name, parameter) = word.split_once('.')?;
        (name.replace('-', "_") == module).then_some(parameter)
    });
    given.collect::<Vec<_>>().join(" ")
}

/// The board's serial number, if its firmware passes one on.
pub fn serial() -> Option<String> {
    let bytes = fs::read("/proc/device-tree/serial-number").ok()?;
    let text = String::from_utf8(bytes).ok()?;
    Some(text.trim_end_matches('\0').to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_gets_its_parameters_from_the_kernel_command_line() {
        let line =
            "console=ttyS2 nvme-core.io_timeout=9 nvme.noacpi=1 gild.card=A nvme_core.multipath=N";
        assert_eq!(
            parameters(Path::new("/lib/modules/1/nvme-core.ko"), line),
            "io_timeout=9 multipath=N"
        );
        assert_eq!(parameters(Path::new("/x/nvme.ko"), line), "noacpi=1");
        assert_eq!(parameters(Path::new("/x/vfat.ko"), line), "");
    }
}
