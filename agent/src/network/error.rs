//! Why there is no network.

use std::net::Ipv4Addr;

use gild_card_format::TwoSections;
use gild_faults::{Fault, HasFault};

use crate::failure::{Remedy, StepError};

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel shows none.
    #[error("no wired network interface was found within {0} s")]
    NoInterface(u64),
    /// No cable, or the other end is off.
    #[error("no carrier on {0} within {1} s")]
    NoCarrier(String, u64),
    /// Nobody answers.
    #[error("no DHCP answer on {0} within {1} s")]
    NoLease(String, u64),
    /// No router announces a network, and nobody answers.
    #[error("neither an IPv6 network nor a DHCP answer on {0} within {1} s")]
    NoIpv6(String, u64),
    /// A server offers an address and then refuses it.
    #[error("the DHCP server {server} refused on {interface} what it had offered (NAK)")]
    Refused {
        /// The interface that asked.
        interface: String,
        /// The server that refused last.
        server: Ipv4Addr,
    },
    /// Two sections of the card's configuration are for this board.
    #[error(transparent)]
    TwoSections(#[from] TwoSections),
    /// The kernel refuses.
    #[error("{action} failed: {error}")]
    Kernel {
        /// What was being done.
        action: String,
        /// What the kernel said.
        error: String,
    },
}

impl HasFault for NetworkError {
    fn fault(&self) -> Fault {
        Fault::NoNetwork
    }
}

impl StepError for NetworkError {
    fn next_step(&self) -> &'static str {
        match self {
            Self::NoCarrier(..) => "check the cable and the switch",
            Self::NoLease(..) => "check the DHCP server, or set [network] in gild.toml on the card",
            Self::NoIpv6(..) => {
                "check that a router announces an IPv6 prefix, or give the server's IPv4 address on the card"
            }
            Self::Refused { .. } => {
                "read in the DHCP server's log why it refuses this board, or set [network] in gild.toml on the card"
            }
            Self::NoInterface(_) => {
                "check that the kernel module for the board's Ethernet is on the card (initramfs)"
            }
            Self::TwoSections(_) | Self::Kernel { .. } => self.fault().next_step(),
        }
    }

    fn remedy(&self) -> Remedy {
        match self {
            Self::NoInterface(_) => Remedy::Restart,
            Self::NoCarrier(..)
            | Self::NoLease(..)
            | Self::NoIpv6(..)
            | Self::Refused { .. }
            | Self::TwoSections(_)
            | Self::Kernel { .. } => Remedy::LookAgain,
        }
    }
}

/// An error of the kernel, by what was being done.
pub fn kernel<E: std::fmt::Display>(action: impl Into<String>) -> impl FnOnce(E) -> NetworkError {
    let action = action.into();
    move |error| NetworkError::Kernel {
        action,
        error: error.to_string(),
    }
}
