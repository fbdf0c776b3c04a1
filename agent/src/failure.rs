//! What the failure of a step means to the node.

use gild_faults::{Fault, HasFault, message};

/// Attempts of a fault that is not retried forever.
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
pub trait StepError: HasFault {
    /// What the operator does about it.
    fn next_step(&self) -> &'static str {
        self.fault().next_step()
    }

    /// What the node does besides looking again.
    fn remedy(&self) -> Remedy {
        Remedy::LookAgain
    }
}

impl Failure {
    /// What this error means.
    pub fn of(error: &dyn StepError) -> Self {
        Self {
            fault: error.fault(),
            message: message(error),
            next_step: error.next_step(),
            remedy: error.remedy(),
        }
    }
}

impl<E: StepError> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}
