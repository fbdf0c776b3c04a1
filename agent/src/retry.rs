//! What a node does when a step has failed: it shows the failure, waits as the fault requires, and starts the story again.

use std::time::Duration;

use gild_disk::Clock;
use gild_faults::{Fault, Policy};
use gild_source::pause;
use log::{error, info, warn};

use crate::failure::{ATTEMPTS, Failure, Remedy};
use crate::machine::Machine;
use crate::node::Node;
use crate::restarts::Counting;
use crate::stage::Stage;
use crate::trouble::Troubles;
use crate::{journal, reboot, restarts, unsent, waited};

/// First wait of a fault that is retried. Each further wait is twice as long, up to a hold.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The failures of the story so far, as far as the next wait depends on them.
#[derive(Default)]
pub struct Failures {
    last: Option<Failure>,
    attempts: u32,
    /// The furthest stage that failed in these attempts.
    furthest: Option<Stage>,
    troubles: Troubles,
}

/// What must be said about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// It differs from the last one, so there is a receipt about it.
    pub is_news: bool,
    /// The node waits for the operator.
    pub is_held: bool,
    next: Next,
}

/// What comes after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Retry(Duration),
    Hold,
}

impl Failures {
    /// Shows the failure and takes note of it.
    pub fn note(&mut self, machine: &Machine, failure: &Failure) -> Noted {
        let next = self.count(failure.fault, machine.stage(), machine.hold);
        let is_held = next == Next::Hold || matches!(failure.remedy, Remedy::Pause(_));
        machine.show_fault(failure.fault);
        machine.reporter.failed(failure, is_held);
        error!("FAULT {}: {}", failure.fault.number(), failure.message);
        error!("next: {}", failure.next_step);
        Noted {
            is_news: self.last.as_ref() != Some(failure),
            is_held,
            next,
        }
    }

    /// Waits. Afterwards the story starts again.
    pub fn wait(&mut self, machine: &Machine, node: &mut Node, failure: Failure, noted: Noted) {
        let remedy = failure.remedy;
        let lasting = self
            .troubles
            .lasting(&failure, machine.stage(), machine.now());
        self.last = Some(failure);
        if let Remedy::Pause(restarts) = remedy {
            let pause = restarts::pause(restarts, machine.hold);
            info!("hold: trying again in {} s", pause.as_secs());
            machine.wait(pause);
            return;
        }
        match (noted.next, lasting) {
            (Next::Retry(wait), None) => {
                info!("waiting: next attempt in {:.1} s", wait.as_secs_f64());
                machine.wait(wait);
            }
            (Next::Hold, None) => {
                info!("hold: looking again in {} s", machine.hold.as_secs());
                machine.wait(machine.hold);
            }
            (Next::Retry(wait), Some(lasting)) => {
                retry_then_restart(machine, node, remedy, lasting, wait);
            }
            (Next::Hold, Some(lasting)) => {
                retry_then_restart(machine, node, remedy, lasting, machine.hold);
            }
        }
    }

    /// Counts a failure. If the fault is another one, or it is in a later stage than any before, the count of attempts starts again.
    fn count(&mut self, fault: Fault, stage: Stage, hold: Duration) -> Next {
        let is_other = self.last.as_ref().is_none_or(|last| last.fault != fault);
        if is_other || self.furthest < Some(stage) {
            self.attempts = 0;
            self.furthest = Some(stage);
        }
        self.attempts = self.attempts.saturating_add(1);
        let wait = pause(self.attempts, FIRST_WAIT, hold);
        match fault.policy() {
            Policy::RetryForever => Next::Retry(wait),
            Policy::Bounded if self.attempts < ATTEMPTS => Next::Retry(wait),
            Policy::Bounded | Policy::Hold => Next::Hold,
        }
    }
}

/// Tries again, and restarts the board if the fault is still there at the end of the pause. The kernel may have lost a disk or a network
/// interface, and a restart may bring that back.
fn retry_then_restart(
    machine: &Machine,
    node: &mut Node,
    remedy: Remedy,
    lasting: Duration,
    wait: Duration,
) {
    let restarts = match remedy {
        Remedy::CountedRestart(restarts) => restarts,
        _ => restarts::before(node),
    };
    let mut left = restarts::pause(restarts, machine.hold).saturating_sub(lasting);
    if left.is_zero()
        && remedy == Remedy::Restart
        && node.counting == Counting::OnCard
        && restarts::count(node).is_none()
    {
        left = restarts::pause(None, machine.hold).saturating_sub(lasting);
    }
    if left.is_zero() {
        warn!("restarting the board: what was not there may be there after a restart");
        waited::keep(node, machine.now());
        machine.reporter.part(machine);
        unsent::keep(machine, node);
        journal::keep(machine, node);
        reboot::reboot();
    }
    let wait = wait.min(left);
    info!(
        "hold: looking again in {:.1} s, and restarting the board in {} s if that does not help",
        wait.as_secs_f64(),
        left.as_secs()
    );
    machine.wait(wait);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_mins(1);

    fn failures(faults: &[Fault]) -> Vec<Next> {
        failures_at(
            &faults
                .iter()
                .map(|fault| (*fault, Stage::Flash))
                .collect::<Vec<_>>(),
        )
    }

    fn failures_at(faults: &[(Fault, Stage)]) -> Vec<Next> {
        let mut failures = Failures::default();
        faults
            .iter()
            .map(|(fault, stage)| {
                let next = failures.count(*fault, *stage, HOLD);
                failures.last = Some(Failure {
                    fault: *fault,
                    message: String::new(),
                    next_step: fault.next_step().into(),
                    remedy: Remedy::LookAgain,
                });
                next
            })
            .collect()
    }

    fn retries(next: &[Next]) -> usize {
        next.iter()
            .filter(|next| matches!(next, Next::Retry(_)))
            .count()
    }

    #[test]
    fn network_and_server_are_tried_for_ever_and_never_slower_than_a_hold() {
        for fault in [Fault::NoNetwork, Fault::ServerUnreachable] {
            let next = failures(&[fault; 50]);
            assert_eq!(retries(&next), 50);
            assert!(
                next.iter()
                    .all(|next| matches!(next, Next::Retry(wait) if *wait <= HOLD))
            );
        }
    }

    #[test]
    fn disk_and_data_are_tried_three_times_and_then_held() {
        for fault in [Fault::TargetFailed, Fault::ImageCorrupt] {
            let next = failures(&[fault; 5]);
            assert_eq!(retries(&next), 2, "two retries follow the first attempt");
            assert_eq!(next[2..], [Next::Hold; 3]);
        }
    }

    #[test]
    fn what_only_the_operator_can_mend_is_held_at_once() {
        for fault in [
            Fault::UnsupportedBoard,
            Fault::ManifestRefused,
            Fault::NoTarget,
        ] {
            assert_eq!(failures(&[fault]), [Next::Hold]);
        }
    }

    #[test]
    fn another_fault_starts_the_count_anew() {
        let next = failures(&[
            Fault::TargetFailed,
            Fault::TargetFailed,
            Fault::ServerUnreachable,
            Fault::TargetFailed,
        ]);
        assert_eq!(retries(&next), 4);
    }

    #[test]
    fn a_later_stage_starts_the_count_anew_and_an_earlier_one_does_not() {
        let at = |stage| (Fault::TargetFailed, stage);
        let next = failures_at(&[
            at(Stage::Flash),
            at(Stage::Flash),
            at(Stage::Verify),
            at(Stage::Flash),
            at(Stage::Verify),
        ]);
        assert_eq!(retries(&next), 4);
        assert_eq!(next[4], Next::Hold);
    }
}
