//! The hardware watchdog: it resets the board if the work stops.
//!
//! The work itself feeds it, never a separate thread, because a thread would still feed it while the work hangs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use gild_disk::watchdog::set_timeout;
use log::{info, warn};

/// Its device.
pub const DEVICE: &str = "/dev/watchdog0";
const SYSFS: &str = "/sys/class/watchdog/watchdog0";
/// Time-outs in seconds to try if the driver refuses another one.
const FALLBACKS: [u32; 2] = [60, 30];
/// No watchdog needs food more often, and the work reports several times a second.
const PAUSE: Duration = Duration::from_secs(1);

/// The watchdog, once it runs.
pub struct Watchdog {
    device: File,
    fed: Instant,
    /// How long it waits, if its driver says so.
    timeout: Option<Duration>,
}

impl Watchdog {
    /// Starts the board's watchdog by opening its device. A board without one works too.
    ///
    /// The time-out is longer than the kernel needs to give up a disk that hangs. Otherwise the reset would come before the fault.
    pub fn start(timeout: Duration) -> io::Result<Self> {
        let device = OpenOptions::new().write(true).open(DEVICE)?;
        let wanted = u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX);
        let shorter = FALLBACKS.into_iter().filter(|seconds| *seconds < wanted);
        for seconds in [wanted].into_iter().chain(shorter) {
            match set_timeout(&device, seconds) {
                Ok(_) => break,
                Err(error) => warn!("the watchdog does not wait {seconds} s: {error}"),
            }
        }
        let timeout = said("timeout");
        info!("watchdog {}, {timeout} s", said("identity"));
        Ok(Self {
            device,
            fed: Instant::now(),
            timeout: timeout.parse().ok().map(Duration::from_secs),
        })
    }

    /// How long it waits before it resets the board, if its driver says so.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Prevents a reset for another period.
    pub fn feed(&mut self) {
        if self.fed.elapsed() >= PAUSE {
            self.fed = Instant::now();
            if let Err(error) = self.device.write_all(b"\0") {
                warn!("feeding the watchdog failed: {error}");
            }
        }
    }
}

fn said(attribute: &str) -> String {
    fs::read_to_string(Path::new(SYSFS).join(attribute))
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}
