//! What a node does when a step failed: say so everywhere, wait as the fault's policy asks, start the story again.

use std::time::Duration;

use gild_flash::select::SelectError;
use gild_flash::{Clock, Fault, Policy};
use log::{error, info, warn};

use crate::backoff;
use crate::board::BoardError;
use crate::card::CardError;
use crate::flash::FlashStepError;
use crate::machine::Machine;
use crate::manifest::FetchError;
use crate::network::NetworkError;
use crate::node::Node;
use crate::stage::Stage;
use crate::trouble::Troubles;
use crate::{reboot, receipt, restarts};

/// First wait of a fault that is retried; each next one is twice as long, up to the time of a hold.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Attempts of a fault that is not retried for ever.
pub const ATTEMPTS: u32 = 3;

/// A step failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its number.
    pub fault: Fault,
    /// What was being done, to what, and what came of it.
    pub message: String,
    /// What the operator does about it.
    pub next_step: &'static str,
    /// What the node does besides looking again.
    pub remedy: Remedy,
}

/// What a node does besides looking again once a hold, when a fault stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing.
    LookAgain,
    /// It holds once, as long as a node holds that restarted so often (see [`restarts::pause`]), and goes on.
    Pause(Option<u32>),
    /// Hardware that a restart may bring back: it restarts the board, with pauses that grow.
    Restart,
    /// The same, after so many restarts that another count knows of.
    CountedRestart(Option<u32>),
}

/// What a step's error means to the node.
pub trait StepError: std::error::Error {
    /// The fault number.
    fn fault(&self) -> Fault;

    /// What the operator does about it.
    fn next_step(&self) -> &'static str {
        self.fault().next_step()
    }

    /// What the node does besides looking again.
    fn remedy(&self) -> Remedy {
        Remedy::LookAgain
    }
}

impl StepError for BoardError {
    fn fault(&self) -> Fault {
        Fault::UnsupportedBoard
    }
}

impl StepError for CardError {
    /// A card that does not say where the image is leaves the node where a server that is off does.
    fn fault(&self) -> Fault {
        Fault::ServerUnreachable
    }

    fn next_step(&self) -> &'static str {
        "put the card in order: its gild.toml names the server and the public key"
    }
}

impl StepError for NetworkError {
    fn fault(&self) -> Fault {
        Fault::NoNetwork
    }

    fn remedy(&self) -> Remedy {
        match self {
            Self::NoInterface(_) => Remedy::Restart,
            Self::NoCarrier(..) | Self::NoLease(..) | Self::Kernel { .. } => Remedy::LookAgain,
        }
    }
}

impl StepError for FetchError {
    fn fault(&self) -> Fault {
        self.fault()
    }
}

impl StepError for SelectError {
    fn fault(&self) -> Fault {
        self.fault()
    }

    fn next_step(&self) -> &'static str {
        if self.may_be_hidden {
            "check that the disk is fitted and well seated; the board restarts by itself to find it, and where that does not help, switch the power off and on"
        } else {
            self.fault().next_step()
        }
    }

    fn remedy(&self) -> Remedy {
        if self.may_be_hidden {
            Remedy::Restart
        } else {
            Remedy::LookAgain
        }
    }
}

impl StepError for FlashStepError {
    fn fault(&self) -> Fault {
        self.fault()
    }

    fn remedy(&self) -> Remedy {
        match self.fault() {
            Fault::TargetFailed => Remedy::Restart,
            _ => Remedy::LookAgain,
        }
    }
}

impl<E: StepError> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            fault: error.fault(),
            message: gild_flash::message(&error),
            next_step: error.next_step(),
            remedy: error.remedy(),
        }
    }
}

/// The failures of the story so far, as far as the next wait depends on them.
#[derive(Default)]
pub struct Failures {
    last: Option<Failure>,
    attempts: u32,
    /// The furthest stage that failed in these attempts.
    furthest: Option<Stage>,
    troubles: Troubles,
    /// Whether the card takes no count of restarts.
    is_uncountable: bool,
}

/// What comes after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Retry(Duration),
    Hold,
}

impl Failures {
    /// Tells of the failure and waits; afterwards the story may start again.
    pub fn handle(&mut self, machine: &Machine, node: &Node, failure: Failure) {
        machine.show_fault(failure.fault);
        error!("FAULT {}: {}", failure.fault.number(), failure.message);
        error!("to do: {}", failure.next_step);
        let is_news = self.last.as_ref() != Some(&failure);
        let next = self.count(failure.fault, machine.stage(), machine.hold);
        if is_news {
            receipt::tell(machine, node, Some(&failure));
        }
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
        match (next, lasting) {
            (Next::Retry(wait), None) => {
                info!("waiting: next attempt in {:.1} s", wait.as_secs_f64());
                machine.wait(wait);
            }
            (Next::Hold, None) => {
                info!("hold: looking again in {} s", machine.hold.as_secs());
                machine.wait(machine.hold);
            }
            (Next::Retry(wait), Some(lasting)) => {
                self.retry_then_restart(machine, node, remedy, lasting, wait);
            }
            (Next::Hold, Some(lasting)) => {
                self.retry_then_restart(machine, node, remedy, lasting, machine.hold);
            }
        }
    }

    /// Looks again, and restarts the board if the fault is still there when the pause before a restart is over: a disk or a
    /// network interface that the kernel has lost may come back with it.
    fn retry_then_restart(
        &mut self,
        machine: &Machine,
        node: &Node,
        remedy: Remedy,
        lasting: Duration,
        wait: Duration,
    ) {
        let restarts = match remedy {
            Remedy::CountedRestart(restarts) => restarts,
            _ if self.is_uncountable => None,
            _ => restarts::before(node),
        };
        let mut left = restarts::pause(restarts, machine.hold).saturating_sub(lasting);
        if left.is_zero() && remedy == Remedy::Restart && !self.is_uncountable {
            self.is_uncountable = restarts::count(node).is_none();
            if self.is_uncountable {
                left = restarts::pause(None, machine.hold).saturating_sub(lasting);
            }
        }
        if left.is_zero() {
            warn!("restarting the board: what was not there may be there after a restart");
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

    /// Another fault, or one in a later stage than ever before, is another trouble, with attempts of its own.
    fn count(&mut self, fault: Fault, stage: Stage, hold: Duration) -> Next {
        let is_other = self.last.as_ref().is_none_or(|last| last.fault != fault);
        if is_other || self.furthest < Some(stage) {
            self.attempts = 0;
            self.furthest = Some(stage);
        }
        self.attempts = self.attempts.saturating_add(1);
        let wait = backoff::wait(self.attempts, FIRST_WAIT, hold);
        match fault.policy() {
            Policy::RetryForever => Next::Retry(wait),
            Policy::Bounded if self.attempts < ATTEMPTS => Next::Retry(wait),
            Policy::Bounded | Policy::Hold => Next::Hold,
        }
    }
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
                    next_step: fault.next_step(),
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
