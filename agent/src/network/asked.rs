//! An interface on which the agent asks for an address: what its DHCP client has reported, and why it has no address.

use std::net::Ipv4Addr;

use gild_boards::mac::Mac;
use gild_dhcp::{Configuration, Event, Lease, News};
use gild_identity::Interface;
use log::warn;

use super::error::{NetworkError, kernel};
use super::link;
use crate::dhcp::{self, Client};

/// An interface with a carrier.
pub struct Asked {
    pub interface: Interface,
    /// Asks for an address, unless the card gives one.
    pub client: Option<Client>,
    pub given: Option<Configuration>,
    /// The server that refused last.
    pub refused_by: Option<Ipv4Addr>,
    /// Why its client cannot send requests.
    pub is_mute: Option<NetworkError>,
    /// Why the kernel did not accept the address that it was given.
    pub is_refused_by_kernel: Option<NetworkError>,
    /// Packets sent before it asked.
    pub sent: Option<u64>,
}

impl Asked {
    /// Begins to ask for an address, unless the card gives one.
    pub fn start(interface: Interface, mac: Mac, given: Option<Configuration>) -> Self {
        let client = match given {
            Some(_) => None,
            None => Some(Client::start(&interface.name, mac)),
        };
        Self {
            sent: interface.packets_sent(),
            interface,
            client,
            given,
            refused_by: None,
            is_mute: None,
            is_refused_by_kernel: None,
        }
    }

    /// Takes note of what the client has said since.
    pub fn listen(&mut self) {
        let name = &self.interface.name;
        while let Some(news) = self.client.as_ref().and_then(Client::news) {
            match news {
                News::Event(
                    Event::Bound(Lease { configuration, .. })
                    | Event::Renewed(Lease { configuration, .. }),
                ) => {
                    self.given = Some(configuration);
                }
                News::Event(Event::Refused(server)) => {
                    warn!("the DHCP server {server} refused what it had offered on {name} (NAK)");
                    self.refused_by = Some(server);
                }
                News::Event(Event::Lost(_)) => self.given = None,
                News::Mute(error) => {
                    dhcp::report_mute(&self.interface, &error);
                    let action = format!("asking for an address on {name}");
                    self.is_mute = Some(kernel(action)(error));
                }
                News::Asks => {
                    dhcp::report_asking(&self.interface);
                    self.is_mute = None;
                }
            }
        }
    }

    /// Whether its requests have not left the chip.
    pub fn has_stalled(&self) -> bool {
        let has_asked = self.is_mute.is_none() && self.is_refused_by_kernel.is_none();
        has_asked && link::has_stalled(&self.interface, self.sent)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::testing::{asked, interfaces};
    use super::*;

    #[test]
    fn one_that_could_not_ask_or_had_an_answer_has_not_stalled() {
        let root = tempfile::tempdir().expect("a directory");
        let one = interfaces(root.path(), &[(2, true)]);
        let counters = root.path().join("sys/class/net/eth2/statistics");
        fs::create_dir_all(&counters).expect("its counters");
        fs::write(counters.join("tx_packets"), "17\n").expect("a counter");
        let asked = || Asked {
            sent: Some(17),
            ..asked(&one[0], None)
        };
        assert!(asked().has_stalled());
        let mute = Asked {
            is_mute: Some(kernel("asking")("error 5")),
            ..asked()
        };
        assert!(!mute.has_stalled(), "it could not ask");
        let refused = Asked {
            is_refused_by_kernel: Some(kernel("giving an address")("error 5")),
            ..asked()
        };
        assert!(!refused.has_stalled(), "it did not ask, or had an answer");
    }
}
