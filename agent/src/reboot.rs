//! The end of the story: the board starts again.

use std::thread;
use std::time::Duration;

use log::error;
use nix::sys::reboot::{RebootMode, reboot as restart};
use nix::unistd::sync;

/// Writes back what is cached and restarts the board. PID 1 never returns, so neither does this.
pub fn reboot() -> ! {
    sync();
    at_once()
}

/// Restarts the board without waiting for its disks.
pub fn at_once() -> ! {
    loop {
        let Err(error) = restart(RebootMode::RB_AUTOBOOT);
        error!("the reboot failed: {error}; next: switch the board off and on");
        thread::sleep(Duration::from_mins(1));
    }
}
