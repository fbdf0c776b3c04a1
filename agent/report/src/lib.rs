//! What boards say of themselves on their way from power-on to a member of the cluster: the agent and the node write it, the
//! desk reads it. And how the desk knows that they said it. No I/O.

mod key;
mod proof;
mod report;

pub use key::{KeyError, ReportKey, SIGNATURE_HEADER};
pub use proof::{PROOF_HEADER, Proof};
pub use report::{Finding, Kind, Level, MAX_LENGTH, Report};
