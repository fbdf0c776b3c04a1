//! The time-out of a hardware watchdog.

use std::fs::File;
use std::io;

use crate::sys;

/// Sets the time-out of an open watchdog, in seconds. Returns the time-out that the driver took, which may be rounded.
///
/// Where the hardware cannot wait so long, the kernel feeds it in between, as long as the kernel itself is alive.
pub fn set_timeout(device: &File, seconds: u32) -> io::Result<u32> {
    sys::watchdog_timeout(device, seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_a_watchdog_takes_no_timeout() {
        let file = tempfile::tempfile().expect("a file");
        set_timeout(&file, 180).expect_err("a regular file has no time-out");
    }
}
