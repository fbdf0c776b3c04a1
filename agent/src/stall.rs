//! A step that makes no progress: shown as a fault before the watchdog resets the board, and again after the reset.
//!
//! A disk that hangs keeps the threads that wait for it in the kernel, so that no error ever comes. The watchdog resets the
//! board then, and without a trace the same would happen forever, with a dark LED. This watcher only looks: it never feeds
//! the watchdog.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use gild_faults::Fault;
use log::{error, warn};

use crate::failure::{Failure, Remedy};
use crate::machine::Machine;
use crate::node::Node;
use crate::stage::Stage;
use crate::{hangs, reboot, receipt};

const LOOK: Duration = Duration::from_millis(500);

/// Watches the work, and knows what to report of the node when it hangs.
#[derive(Clone, Default)]
pub struct Watcher {
    node: Arc<Mutex<Node>>,
}

impl Watcher {
    /// Starts to watch. Its thread touches neither card nor disk, so that it goes on when they hang.
    pub fn start(machine: &'static Machine) -> Self {
        let watcher = Self::default();
        let watching = watcher.clone();
        thread::spawn(move || {
            loop {
                watching.look(machine);
                thread::sleep(LOOK);
            }
        });
        watcher
    }

    /// What is known of the node by now.
    pub fn knows(&self, node: &Node) {
        *self.node.lock().unwrap_or_else(PoisonError::into_inner) = node.clone();
    }

    /// Shows a stall once two thirds of the watchdog's time have passed without a sign of life, and follows it to its end.
    fn look(&self, machine: &'static Machine) {
        let timeout = machine.watchdog_timeout();
        let limit = timeout * 2 / 3;
        if machine.silence() < limit {
            return;
        }
        let failure = stalled(machine.stage(), limit);
        machine.show_fault(failure.fault);
        machine.reporter.failed(&failure, false);
        error!("FAULT {}: {}", failure.fault.number(), failure.message);
        error!("next: {}", failure.next_step);
        let blames_disk = failure.fault == Fault::TargetFailed;
        let reporting = blames_disk.then(|| {
            let node = self.node();
            thread::spawn(move || {
                let counted = hangs::count(&node);
                receipt::tell(machine, &node, Some(&failure), false);
                counted.map(|counted| (node, counted))
            })
        });
        while machine.silence() >= limit {
            // A board whose watchdog is missing or broken.
            if machine.silence() >= timeout * 3 / 2 {
                error!("the watchdog did not reset the board: restarting it");
                reboot::at_once();
            }
            thread::sleep(LOOK);
        }
        warn!("the work goes on");
        if let Some(reporting) = reporting {
            thread::spawn(move || {
                // Only what was counted is taken back. A report that panicked has ended the agent already.
                if let Ok(Some((node, counted))) = reporting.join() {
                    hangs::take_back(&node, &counted);
                }
            });
        }
    }

    fn node(&self) -> Node {
        let node = self.node.lock().unwrap_or_else(PoisonError::into_inner);
        node.clone()
    }
}

/// The fault of a stage that does not get on. In these stages all waits for the server and the network are short, or say
/// that they are alive.
fn stalled(stage: Stage, time: Duration) -> Failure {
    let (fault, what) = match stage {
        Stage::Disk => (Fault::TargetFailed, "the disk or the card has not answered"),
        Stage::Target | Stage::Flash | Stage::Verify | Stage::Commit => {
            (Fault::TargetFailed, "the disk has not answered")
        }
        Stage::BootOrder => (
            Fault::BootOrder,
            "the card, the boot flash or the disk has not answered",
        ),
        Stage::Takeover
        | Stage::Board
        | Stage::Card
        | Stage::Network
        | Stage::Manifest
        | Stage::Receipt => (Fault::Internal, "nothing has happened"),
    };
    Failure {
        fault,
        message: format!(
            "{what} for {} s in stage {}; the watchdog is about to reset the board",
            time.as_secs(),
            stage.name()
        ),
        next_step: fault.next_step().into(),
        remedy: Remedy::LookAgain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_waits_for_the_disk_blames_the_disk() {
        for (stage, fault) in [
            (Stage::Disk, Fault::TargetFailed),
            (Stage::Flash, Fault::TargetFailed),
            (Stage::Verify, Fault::TargetFailed),
            (Stage::BootOrder, Fault::BootOrder),
            (Stage::Card, Fault::Internal),
        ] {
            let failure = stalled(stage, Duration::from_mins(2));
            assert_eq!(failure.fault, fault);
            assert!(failure.message.contains("for 120 s"), "{}", failure.message);
        }
    }
}
