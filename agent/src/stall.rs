//! A step that does not get on: shown as a fault before the watchdog resets the board, and again after the reset.
//!
//! A disk that hangs keeps the threads that wait for it in the kernel, so that no error ever comes. The watchdog resets the
//! board then, and without a trace the same would happen forever, with a dark LED. This watcher only looks: it never feeds
//! the watchdog.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use gild_flash::Fault;
use log::{error, warn};

use crate::failure::{Failure, Remedy, StepError};
use crate::machine::Machine;
use crate::node::Node;
use crate::restarts::Tally;
use crate::stage::Stage;
use crate::{reboot, receipt};

const LOOK: Duration = Duration::from_millis(500);

/// The disk did not answer at the last start, and the watchdog reset the board.
#[derive(Debug, thiserror::Error)]
#[error(
    "the disk stopped answering in the last {hangs} start(s) of this board, and the watchdog reset it each time; \
     the disk is tried again after a pause"
)]
pub struct HungBefore {
    hangs: u32,
}

impl StepError for HungBefore {
    fn fault(&self) -> Fault {
        Fault::TargetFailed
    }

    fn remedy(&self) -> Remedy {
        Remedy::Pause(Some(self.hangs - 1))
    }
}

/// Shows a disk that hung at the last start, once: then it is tried again.
pub fn show_last(node: &mut Node) -> Result<(), HungBefore> {
    if std::mem::replace(&mut node.has_shown_hangs, true) {
        return Ok(());
    }
    let Some(card) = &node.card else {
        return Ok(());
    };
    match Tally::read(card, &node.id()) {
        Ok(Tally { hangs: 0, .. }) => Ok(()),
        Ok(Tally { hangs, .. }) => Err(HungBefore { hangs }),
        Err(error) => {
            warn!("whether the disk hung before is not known: {error}");
            Ok(())
        }
    }
}

/// What the watcher says of the node when it does not get on.
#[derive(Clone, Default)]
pub struct Watcher {
    node: Arc<Mutex<Node>>,
}

impl Watcher {
    /// Starts to watch. It is the last thread to go on when all others hang.
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
        let limit = machine.watchdog_timeout * 2 / 3;
        if machine.silence() < limit {
            return;
        }
        let failure = stalled(machine.stage(), limit);
        machine.show_fault(failure.fault);
        error!("FAULT {}: {}", failure.fault.number(), failure.message);
        error!("to do: {}", failure.next_step);
        let node = self
            .node
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        // Any other stage may hang in the card itself.
        if failure.fault == Fault::TargetFailed {
            count_hang(&node);
            receipt::tell(machine, &node, Some(&failure));
        }
        while machine.silence() >= limit {
            // A board whose watchdog is missing or broken.
            if machine.silence() >= machine.watchdog_timeout * 3 / 2 {
                error!("the watchdog did not reset the board: restarting it");
                reboot::at_once();
            }
            thread::sleep(LOOK);
        }
        warn!("the work goes on");
    }
}

/// On the card, which is another device than the one that hangs.
fn count_hang(node: &Node) {
    let Some(card) = &node.card else {
        return;
    };
    let counted = Tally::read(card, &node.id()).and_then(|tally| {
        let hangs = tally.hangs.saturating_add(1);
        Tally { hangs, ..tally }.write(card, &node.id())
    });
    if let Err(error) = counted {
        warn!("the next start will not know of this: {error}");
    }
}

/// The fault of a stage that does not get on. In these stages all waits for the server and the network are short, or say
/// that they are alive.
fn stalled(stage: Stage, time: Duration) -> Failure {
    let (fault, what) = match stage {
        Stage::Gate | Stage::Target | Stage::Flash | Stage::Verify | Stage::Commit => {
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
        | Stage::Receipt => (Fault::Internal, "the agent has not got on"),
    };
    Failure {
        fault,
        message: format!(
            "{what} for {} s in stage {}; the watchdog is about to reset the board",
            time.as_secs(),
            stage.name()
        ),
        next_step: fault.next_step(),
        remedy: Remedy::LookAgain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_waits_for_the_disk_blames_the_disk() {
        for (stage, fault) in [
            (Stage::Gate, Fault::TargetFailed),
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
