//! What was done with the login: when, from where, what.

use serde::{Deserialize, Serialize};

/// Only this many are kept, the latest ones.
const MOST: usize = 500;

/// One action with the login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Seconds since 1970.
    pub at: u64,
    /// From which address in the network.
    pub from: String,
    /// What, in words.
    pub text: String,
}

/// The actions, the latest last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit(Vec<Act>);

impl Audit {
    /// All that are kept.
    #[must_use]
    pub fn acts(&self) -> &[Act] {
        &self.0
    }

    /// Adds one.
    pub(super) fn add(&mut self, act: Act) {
        self.0.push(act);
        let old = self.0.len().saturating_sub(MOST);
        self.0.drain(..old);
    }
}
