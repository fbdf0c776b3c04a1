//! A virtual board: one QEMU process that looks to the kernel like a board.
//!
//! Real: the kernel, the agent, its modules for NVMe, SD card and file systems, and all they do. Simulated: the
//! hardware (QEMU's `virt` machine, an emulated Cortex-A76) and the firmware: QEMU loads the kernel itself, or
//! Debian's U-Boot finds it.

mod devices;
mod disks;
mod hardware;

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

pub use self::disks::{DiskCounters, failing};
pub use self::hardware::{Boot, Hardware, Nvme};
use crate::board_dtb::Product;
use crate::led;
use crate::qmp::Qmp;
use crate::serial::{SerialLog, progress};
use crate::slot::Slot;

const POLL: Duration = Duration::from_millis(20);

/// How a board's run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest asked for a reboot.
    Reset,
    /// The guest switched itself off.
    PowerOff,
    /// The watchdog reset a guest that did not feed it.
    Watchdog,
    /// Anything else, in QEMU's words.
    Other(String),
}

/// A running board. Dropping it cuts its power.
pub struct VirtualBoard {
    product: Product,
    child: Child,
    qmp: Qmp,
    serial: SerialLog,
    log: PathBuf,
    led: PathBuf,
    tolerate_faults: bool,
    /// While it runs.
    slot: Option<Slot>,
}

impl VirtualBoard {
    /// From here on a fault on the console is expected: waiting for another line continues after it.
    pub fn tolerate_faults(&mut self) {
        self.tolerate_faults = true;
    }

    /// Waits for the next console line that contains `pattern` and gives that line.
    ///
    /// Fails early, with the end of the log, if the guest ends, panics, or reports an unexpected fault.
    pub fn wait_for(&mut self, pattern: &str, timeout: Duration) -> Result<String> {
        self.wait_until(pattern, timeout, |line| line.contains(pattern))
    }

    /// As [`VirtualBoard::wait_for`], for the first line that `wanted` accepts; `what` names it in the error.
    pub fn wait_until(
        &mut self,
        what: &str,
        timeout: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let deadline = Instant::now() + timeout;
        loop {
            // This is checked before the log is read. So the last lines of a guest that has just ended are still read.
            let ended = self.child.try_wait().context("asking after QEMU")?;
            while let Some(line) = self.serial.next_line() {
                if wanted(line) {
                    return Ok(line.to_owned());
                }
                let fault = line.contains("gild: FAULT") && !self.tolerate_faults;
                if fault || line.contains("Kernel panic") {
                    let line = line.to_owned();
                    bail!(
                        "the board says `{line}` while the test waits for `{what}`\n{}",
                        self.serial.tail()
                    );
                }
            }
            if let Some(status) = ended {
                self.qmp.read_to_the_end();
                let reason = self.qmp.shutdown_reason();
                bail!(
                    "the guest ended ({reason:?}, {status}) before `{what}`\n{}",
                    self.serial.tail()
                );
            }
            if Instant::now() >= deadline {
                bail!(
                    "no `{what}` within {} s\n{}",
                    timeout.as_secs(),
                    self.serial.tail()
                );
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits until the agent has done this many per cent of a stage.
    pub fn wait_for_progress(&mut self, percent: u64, timeout: Duration) -> Result<String> {
        let what = format!("progress of at least {percent} %");
        self.wait_until(&what, timeout, |line| has_come_to(line, percent))
    }

    /// Waits for a fault on the console, and gives its line.
    pub fn wait_for_fault(&mut self, number: u8, timeout: Duration) -> Result<String> {
        self.tolerate_faults();
        self.wait_for(&format!("gild: FAULT {number}:"), timeout)
    }

    /// The same, and waits until the LED shows it.
    pub fn wait_for_fault_on_the_led(&mut self, number: u8, timeout: Duration) -> Result<String> {
        let line = self.wait_for_fault(number, timeout)?;
        self.wait_for_the_led(number, timeout)?;
        Ok(line)
    }

    /// Waits until the LED has blinked the whole number of a fault. That takes as many seconds as the number, and three more.
    pub fn wait_for_the_led(&mut self, number: u8, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            let seen = self.led()?;
            if seen.faults.contains(&number) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!(
                    "the LED never blinked fault {number}, but {seen:?}\n{}",
                    self.serial.tail()
                );
            }
            std::thread::sleep(POLL);
        }
    }

    /// What the LED has shown since power-on.
    pub fn led(&self) -> Result<led::Seen> {
        led::seen(&self.led, self.product.led_active_low())
    }

    /// Waits until the machine ends by itself.
    pub fn wait_end(&mut self, timeout: Duration) -> Result<End> {
        let deadline = Instant::now() + timeout;
        while self
            .child
            .try_wait()
            .context("asking after QEMU")?
            .is_none()
        {
            if Instant::now() >= deadline {
                bail!(
                    "still running after {} s\n{}",
                    timeout.as_secs(),
                    self.serial.tail()
                );
            }
            std::thread::sleep(POLL);
        }
        // A test may keep a board that has ended and start the next one. If ended boards kept their slots, tests could wait for each other
        // forever.
        self.slot = None;
        self.qmp.read_to_the_end();
        if self.qmp.saw("WATCHDOG") {
            return Ok(End::Watchdog);
        }
        Ok(match self.qmp.shutdown_reason().as_deref() {
            Some("guest-reset") => End::Reset,
            Some("guest-shutdown") => End::PowerOff,
            other => End::Other(other.unwrap_or("no reason given").to_owned()),
        })
    }

    /// All console lines so far.
    pub fn console(&mut self) -> Vec<String> {
        self.serial.lines().to_vec()
    }

    /// The file the serial console is written to.
    #[must_use]
    pub fn serial_file(&self) -> &Path {
        &self.log
    }

    /// Cuts the power: the process is killed. What the guest wrote to its disks stays, even what it did not flush.
    pub fn cut_power(mut self) -> Result<()> {
        self.child.kill().context("killing QEMU")?;
        self.child.wait().context("waiting for QEMU")?;
        Ok(())
    }

    /// Pulls the network cable, or plugs it in again.
    pub fn set_cable(&mut self, plugged: bool) -> Result<()> {
        self.qmp
            .execute("set_link", json!({ "name": "net0", "up": plugged }))?;
        Ok(())
    }

    /// A QMP command of the test's own.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }
}

/// Whether a line says that the agent has done this many per cent of a stage.
pub(crate) fn has_come_to(line: &str, percent: u64) -> bool {
    progress(line).is_some_and(|(done, _)| done >= percent)
}

impl Drop for VirtualBoard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
