//! Notices a step that makes no progress. It shows that as a fault before the watchdog resets the board, and again after the reset.
//!
//! If a disk hangs, the kernel blocks the threads that wait for it, so there is never an error. Then the watchdog resets the board. Without
//! this module that would leave no trace and would repeat forever, with a dark LED. The watcher only looks: it never feeds the watchdog.

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

/// Watches the work, and knows what to report about the node when the work hangs.
#[derive(Clone, Default)]
pub struct Watcher {
    node: Arc<Mutex<Node>>,
}

impl Watcher {
    /// Starts to watch. Its thread uses neither card nor disk, so it continues when they hang.
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

    /// Updates what is known of the node.
    pub fn knows(&self, node: &Node) {
        *self.node.lock().unwrap_or_else(PoisonError::into_inner) = node.clone();
    }

    /// Once the work has been silent for two thirds of the watchdog's time, shows that as a fault, and watches until it ends.
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
            // The board's watchdog is missing or broken.
            if machine.silence() >= timeout * 3 / 2 {
                error!("the watchdog did not reset the board: restarting it");
                reboot::at_once();
            }
            thread::sleep(LOOK);
        }
        warn!("the work goes on");
        if let Some(reporting) = reporting {
            thread::spawn(move || {
                // A hang that was not counted cannot be taken back. If the report panicked, the agent has already ended.
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

/// The fault of a stage that makes no progress. In these stages all waits for the server and the network are short or show that they are
/// alive.
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
