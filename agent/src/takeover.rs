//! Step 1, take over: from the kernel's start to a state in which every later step can report.

use std::fs;
use std::io::{self, Write};
use std::panic;
use std::thread;
use std::time::Duration;

use gild_card_format::Arguments;
use gild_faults::Fault;
use log::{error, info, warn};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::sync;

use crate::led::Led;
use crate::machine::{Machine, WATCHDOG};
use crate::stage::Stage;
use crate::{board, console, reboot};

const HOLD: Duration = Duration::from_mins(1);
/// Shortest and longest hold, in seconds. Without a hold the agent would run in a tight loop. With an endless one it would never try again.
const HOLDS: (u64, u64) = (1, 86_400);
/// Shortest and longest time-out of the watchdog, in seconds.
const WATCHDOGS: (u64, u64) = (10, 3600);
/// How long a panic is shown before the board starts again.
const SHOWN: Duration = Duration::from_mins(1);

/// Mounts the kernel's file systems, starts the log, and makes sure that this process never ends without a message.
pub fn take_over() -> (&'static Machine, Arguments) {
    // Before there is a machine that can show a panic, a panic restarts the board too.
    panic::set_hook(Box::new(|panic| {
        // A console that fails must not end the process.
        let _ = writeln!(
            io::stderr(),
            "gild: FAULT {}: {panic}",
            Fault::Internal.number()
        );
        thread::sleep(SHOWN);
        reboot::reboot();
    }));
    console::never_block_standard_streams();
    let trouble = mount_all();
    let (journal, syslog) = console::start(board::detect().ok());
    info!("agent {} starting", crate::version::VERSION);
    info!("stage {}", Stage::Takeover.name());
    for (place, error) in trouble {
        warn!("mounting {place} failed: {error}");
    }
    let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let arguments = Arguments::parse(&command_line);
    quiet_kernel(&command_line);
    reap_children();
    // The machine lasts as long as the process.
    let hold = seconds(&arguments, "hold_seconds", HOLD, HOLDS);
    let watchdog = seconds(&arguments, "watchdog_seconds", WATCHDOG, WATCHDOGS);
    let machine = Machine::new(Led::start(), hold)
        .with_watchdog_timeout(watchdog)
        .with_journal(journal)
        .with_syslog(syslog);
    let machine: &Machine = Box::leak(Box::new(machine));
    end_panics_in_a_reboot(machine);
    machine.reporter.start();
    machine.syslog.start();
    (machine, arguments)
}

/// A time in seconds from the kernel arguments, within limits.
fn seconds(
    arguments: &Arguments,
    name: &str,
    usual: Duration,
    (least, most): (u64, u64),
) -> Duration {
    let Some(given) = arguments.get(name) else {
        return usual;
    };
    if let Ok(seconds) = given.parse::<u64>() {
        return Duration::from_secs(seconds.clamp(least, most));
    }
    warn!(
        "gild.{name}={given} is not a number of seconds: {} s are used",
        usual.as_secs()
    );
    usual
}

/// Returns what could not be mounted, because the log does not run yet.
fn mount_all() -> Vec<(&'static str, io::Error)> {
    [
        ("proc", "/proc", "proc"),
        ("sysfs", "/sys", "sysfs"),
        ("devtmpfs", "/dev", "devtmpfs"),
        ("tmpfs", "/run", "tmpfs"),
    ]
    .into_iter()
    .filter_map(|(source, place, kind)| {
        let mounted = fs::create_dir_all(place).and_then(|()| {
            match mount(
                Some(source),
                place,
                Some(kind),
                MsFlags::empty(),
                None::<&str>,
            ) {
                // The kernel has already mounted it.
                Ok(()) | Err(Errno::EBUSY) => Ok(()),
                Err(error) => Err(error.into()),
            }
        });
        Some((place, mounted.err()?))
    })
    .collect()
}

/// Leaves the console to the agent, except for the kernel's errors, unless the command line asks for more.
fn quiet_kernel(command_line: &str) {
    let asked = command_line
        .split_whitespace()
        .any(|word| word.starts_with("loglevel=") || matches!(word, "debug" | "ignore_loglevel"));
    if !asked && let Err(error) = fs::write("/proc/sys/kernel/printk", "4") {
        warn!("the kernel will write between the lines: {error}");
    }
}

/// The agent starts no process, but PID 1 inherits every orphan, including the kernel's helpers.
fn reap_children() {
    let mut ended = SigSet::empty();
    ended.add(Signal::SIGCHLD);
    // Threads inherit the mask, so it is set before the first one starts. Then only this thread gets the signal.
    if let Err(error) = ended.thread_block() {
        warn!("orphans will not be reaped: {error}");
        return;
    }
    thread::spawn(move || {
        while ended.wait().is_ok() {
            while waitpid(None, Some(WaitPidFlag::WNOHANG))
                .is_ok_and(|status| status.pid().is_some())
            {}
        }
    });
}

/// A panic of PID 1 would panic the kernel. The hook shows the fault instead and restarts the board.
fn end_panics_in_a_reboot(machine: &'static Machine) {
    panic::set_hook(Box::new(move |panic| {
        machine.show_last_fault(Fault::Internal);
        error!("FAULT {}: {panic}", Fault::Internal.number());
        error!("next: {}", Fault::Internal.next_step());
        error!("rebooting in {} s", SHOWN.as_secs());
        sync();
        machine.wait(SHOWN);
        reboot::reboot();
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_neither_a_tight_loop_nor_endless() {
        for (said, wanted) in [
            ("", 60),
            ("gild.hold_seconds=2", 2),
            ("gild.hold_seconds=0", 1),
            ("gild.hold_seconds=18446744073709551615", 86_400),
            ("gild.hold_seconds=soon", 60),
        ] {
            assert_eq!(
                seconds(&Arguments::parse(said), "hold_seconds", HOLD, HOLDS),
                Duration::from_secs(wanted),
                "{said}"
            );
        }
    }
}
