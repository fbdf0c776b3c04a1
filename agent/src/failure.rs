//! What the failure of a step means for the node.

use std::borrow::Cow;

use gild_faults::{Fault, HasFault, message};

/// How often a fault is retried that is not retried forever.
pub const ATTEMPTS: u32 = 3;

/// In an error's text this stands before the advice.
const NEXT: &str = "; next: ";

/// A step failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its number.
    pub fault: Fault,
    /// What was being done, to what, and with what result.
    pub message: String,
    /// What the operator does about it.
    pub next_step: Cow<'static, str>,
    /// What the node does apart from trying again.
    pub remedy: Remedy,
}

/// What a node does when a fault stays, apart from trying again after each hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing.
    LookAgain,
    /// It waits once for a pause that grows with this number of restarts (see [`restarts::pause`]), and then continues.
    Pause(Option<u32>),
    /// A restart may bring the hardware back, so the node restarts the board, with growing pauses.
    Restart,
    /// The same, but another counter gives the number of restarts.
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
    /// What this error means. If its text ends with advice, that is the next step. Otherwise the error type gives one.
    pub fn of(error: &dyn StepError) -> Self {
        let said = message(error);
        let (message, next_step) = match said.split_once(NEXT) {
            Some((what, next)) if !next.contains(NEXT) => (what.to_owned(), next.to_owned().into()),
            _ => (said, error.next_step().into()),
        };
        Self {
            fault: error.fault(),
            message,
            next_step,
            remedy: error.remedy(),
        }
    }
}

impl<E: StepError> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Said(&'static str);

    impl HasFault for Said {
        fn fault(&self) -> Fault {
            Fault::TargetFailed
        }
    }

    impl StepError for Said {}

    #[test]
    fn an_error_that_says_what_to_do_has_no_other_next_step() {
        let its_own = Failure::of(&Said("it is full; next: make room"));
        assert_eq!(its_own.message, "it is full");
        assert_eq!(its_own.next_step, "make room");
        let of_the_fault = Failure::of(&Said("it is full"));
        assert_eq!(of_the_fault.next_step, Fault::TargetFailed.next_step());
    }

    #[test]
    fn advice_in_the_middle_stays_where_it_is() {
        let several = "one failed; next: try it, and two; next: try that";
        assert_eq!(Failure::of(&Said(several)).message, several);
    }
}
