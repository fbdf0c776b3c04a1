//! The door: whether a node's token is given to anyone who asks with its MAC address.

use serde::{Deserialize, Serialize};

/// If a node has not joined after this many seconds, its door closes.
pub const LONGEST_OPEN: u64 = 12 * 60 * 60;
/// A time server corrects a clock by seconds. A door that was opened in a time to come by more seconds than this would stay open until that
/// time, and 12 hours more.
const CLOCKS_DIFFER: u64 = 5 * 60;

/// Why the desk withholds the token of a node whose door the operator has closed.
pub const CLOSED: &str = "the operator has closed the door for this node";

/// Who opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Opened {
    /// The flasher on one of the site's cards, which is writing this node's disk or has just written it.
    ByFlasher,
    /// The operator.
    ByOperator,
}

/// The door of one node. Times are seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Door {
    /// Nobody has opened it yet.
    #[default]
    NeverOpened,
    /// The token goes to anyone who asks with this MAC address.
    Open {
        /// Since when.
        since: u64,
        /// By whom.
        by: Opened,
    },
    /// The node has joined.
    Joined {
        /// Since when.
        since: u64,
    },
    /// The operator has closed it.
    Closed {
        /// Since when.
        since: u64,
    },
}

impl Door {
    /// Why the desk withholds the token, for the node's console. `None` if it gives the token.
    #[must_use]
    pub const fn reason(self, now: u64) -> Option<&'static str> {
        match self {
            Self::Open { since, .. } if since > now.saturating_add(CLOCKS_DIFFER) => Some(
                "the clock of the desk was ahead when the door was opened, so nobody knows for how long it was open",
            ),
            Self::Open { since, .. } if now.saturating_sub(since) <= LONGEST_OPEN => None,
            Self::Open { .. } => {
                Some("the door was open for 12 hours, and the node has not joined")
            }
            Self::NeverOpened => {
                Some("no card of this site has reported that it flashes this node")
            }
            Self::Joined { .. } => Some("the node has joined already"),
            Self::Closed { .. } => Some(CLOSED),
        }
    }

    /// Whether even a valid proof does not open it.
    #[must_use]
    pub const fn is_closed_by_operator(self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}
