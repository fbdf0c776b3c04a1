//! The machine, to which every step reports. It has the stages, the LED, the status URL and the watchdog.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use gild_disk::Clock;
use gild_faults::Fault;
use log::info;

use crate::journal::Journal;
use crate::led::{Led, Pattern};
use crate::node::Node;
use crate::reporter::Reporter;
use crate::stage::{Stage, Stages};
use crate::syslog::Syslog;
use crate::watchdog::Watchdog;

/// The longest sleep between two feedings of the watchdog.
const TICK: Duration = Duration::from_secs(1);

/// Two thirds of this are longer than the kernel usually needs to give up an NVMe disk that hangs. It needs 30 s to abort a command, 30 s
/// until it resets the controller, and twice up to 25.6 s for the reset (CAP.TO of common disks). If the disk survives the reset and then
/// hangs again, that takes a minute more.
pub const WATCHDOG: Duration = Duration::from_mins(3);
/// Shortest and longest wait of a step. A short hold, as in tests, makes the waits short too.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));

/// The machine as the steps see it.
pub struct Machine {
    /// The status LED.
    pub led: Led,
    /// The way to the status URL.
    pub reporter: Reporter,
    /// The lines of the console.
    pub journal: Journal,
    /// The way to a log server.
    pub syslog: Syslog,
    /// How long a node holds before it looks again.
    pub hold: Duration,
    wanted_timeout: Duration,
    start: Instant,
    watchdog: Mutex<Option<Watchdog>>,
    /// When the work was last seen alive.
    alive: Mutex<Instant>,
    progress: Mutex<Progress>,
}

struct Progress {
    stages: Stages,
    /// The stage that failed last. Its fault stays on the LED until the work gets past that stage.
    failed: Option<Stage>,
    /// The agent is ending with a fault, and nothing may replace that on the LED.
    is_over: bool,
}

impl Machine {
    /// A machine that begins.
    pub fn new(led: Led, hold: Duration) -> Self {
        Self {
            led,
            reporter: Reporter::default(),
            journal: Journal::default(),
            syslog: Syslog::default(),
            hold,
            wanted_timeout: WATCHDOG,
            start: Instant::now(),
            watchdog: Mutex::new(None),
            alive: Mutex::new(Instant::now()),
            progress: Mutex::new(Progress {
                stages: Stages::start(),
                failed: None,
                is_over: false,
            }),
        }
    }

    /// The same machine with another time-out of its watchdog.
    pub fn with_watchdog_timeout(self, wanted_timeout: Duration) -> Self {
        Self {
            wanted_timeout,
            ..self
        }
    }

    /// The same machine, with the lines that are already on its console.
    pub fn with_journal(self, journal: Journal) -> Self {
        Self { journal, ..self }
    }

    /// The same machine, with what sends these lines to a log server.
    pub fn with_syslog(self, syslog: Syslog) -> Self {
        Self { syslog, ..self }
    }

    /// Passes on what is known of the node to the status URL and the log server.
    pub fn knows(&self, node: &Node) {
        self.reporter.knows(node);
        self.syslog.knows(node);
    }

    /// After how long without progress the board is reset.
    pub fn watchdog_timeout(&self) -> Duration {
        let watchdog = lock(&self.watchdog);
        let granted = watchdog.as_ref().and_then(Watchdog::timeout);
        granted.unwrap_or(self.wanted_timeout)
    }

    /// How long a step waits for a network, a server or a disk before that is a fault.
    pub fn patience(&self) -> Duration {
        self.hold.clamp(PATIENCE.0, PATIENCE.1)
    }

    /// Starts the board's watchdog if it is not running.
    pub fn start_watchdog(&self) -> io::Result<()> {
        let mut watchdog = lock(&self.watchdog);
        if watchdog.is_none() {
            *watchdog = Some(Watchdog::start(self.wanted_timeout)?);
        }
        Ok(())
    }

    /// Begins a stage.
    pub fn enter(&self, stage: Stage) {
        let mut progress = lock(&self.progress);
        progress.stages.enter(stage);
        if progress.failed.is_some_and(|failed| failed < stage) {
            progress.failed = None;
        }
        let is_fault_over = progress.failed.is_none();
        drop(progress);
        info!("stage {}", stage.name());
        self.reporter.enters(stage, is_fault_over);
        self.alive();
        match stage {
            Stage::Takeover | Stage::Board | Stage::Card | Stage::Disk => {
                self.show(Pattern::Starting);
            }
            Stage::Network => self.show(Pattern::WaitingForNetwork),
            Stage::Manifest | Stage::Target => self.show(Pattern::WaitingForServer),
            Stage::Flash | Stage::BootOrder => self.show(Pattern::Writing),
            Stage::Verify | Stage::Commit => self.show(Pattern::Verifying),
            Stage::Receipt => (),
        }
    }

    /// The present stage.
    pub fn stage(&self) -> Stage {
        lock(&self.progress).stages.present()
    }

    /// The stages so far and the time spent in each.
    pub fn stages(&self) -> Vec<(Stage, Duration)> {
        lock(&self.progress).stages.spent()
    }

    /// Shows a pattern, unless the LED shows a fault that the work has not passed yet.
    pub fn show(&self, pattern: Pattern) {
        let progress = lock(&self.progress);
        if progress.failed.is_none() && !progress.is_over {
            self.led.show(pattern);
        }
    }

    /// Shows a fault of the present stage.
    pub fn show_fault(&self, fault: Fault) {
        let mut progress = lock(&self.progress);
        progress.failed = Some(progress.stages.present());
        if !progress.is_over {
            self.led.show(Pattern::Fault(fault));
        }
    }

    /// Shows the fault with which the agent ends, whatever its other threads still do.
    pub fn show_last_fault(&self, fault: Fault) {
        lock(&self.progress).is_over = true;
        self.led.show(Pattern::Fault(fault));
    }

    /// The work has advanced, so the earlier failure is over.
    pub fn got_on(&self, pattern: Pattern) {
        lock(&self.progress).failed = None;
        self.reporter.got_on();
        self.show(pattern);
        self.alive();
    }

    /// Notes that the work is alive.
    pub fn alive(&self) {
        *lock(&self.alive) = Instant::now();
        if let Some(watchdog) = &mut *lock(&self.watchdog) {
            watchdog.feed();
        }
    }

    /// How long it has been since the work last showed that it is alive.
    pub fn silence(&self) -> Duration {
        lock(&self.alive).elapsed()
    }

    /// Waits, and meanwhile shows that the work is alive.
    pub fn wait(&self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            self.alive();
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return;
            }
            thread::sleep(rest.min(TICK));
        }
    }
}

/// A panic ends the agent anyway, and the panic hook must still get at the data to show the fault.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The engine's waits also show that the work is alive.
impl Clock for Machine {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, time: Duration) {
        self.wait(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_shown_instead_of_the_last_fault() {
        let machine = Machine::new(Led::start(), Duration::from_secs(1));
        machine.show_fault(Fault::TargetFailed);
        machine.got_on(Pattern::Writing);
        assert_eq!(machine.led.shown(), Pattern::Writing);
        machine.show_last_fault(Fault::Internal);
        machine.got_on(Pattern::Writing);
        machine.enter(Stage::Verify);
        machine.show_fault(Fault::TargetFailed);
        assert_eq!(machine.led.shown(), Pattern::Fault(Fault::Internal));
    }
}
