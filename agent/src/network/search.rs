//! The search for an interface with an address. All interfaces with a carrier ask at the same time.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use gild_boards::Board;
use gild_card_format::Networks;
use gild_disk::revive::Revival;
use gild_disk::select::System;
use gild_format::network::{Settings, Static};
use gild_identity::Interface;
use log::warn;

use super::asked::Asked;
use super::error::{NetworkError, kernel};
use super::keeper::Keeper;
use super::{Effort, LOOK, Network, OTHER_KIND, ipv6, link, macs, setup, verdict};
use crate::machine::Machine;
use crate::netlink::Netlink;

/// How long the other interfaces have to get an address, before one that did not lead to the server is used again.
const OTHERS: Duration = Duration::from_secs(10);

/// The search for an interface with an address.
pub struct Search<'a> {
    pub netlink: &'a Netlink,
    pub machine: &'a Machine,
    pub board: &'a Board,
    pub networks: &'a Networks,
    /// The server's address is one of IPv6.
    pub by_ipv6: bool,
    pub effort: Effort,
    /// The interfaces that come after the others.
    pub failed: Vec<u32>,
    /// The interfaces that the search has tried to bring up, and the error if one could not be.
    pub seen: Vec<(Interface, Option<NetworkError>)>,
    /// Those that have a carrier.
    pub asked: Vec<Asked>,
}

/// The agent's own static address. An address in a VLAN is only for the node: the agent stays outside the VLAN.
fn own(settings: &Settings) -> Option<&Static> {
    match settings.vlan {
        None => settings.address.as_ref(),
        Some(_) => None,
    }
}

impl Search<'_> {
    /// Looks until an interface has an address, or until the patience is over.
    pub fn network(mut self) -> Result<Network, NetworkError> {
        let patience = match self.effort {
            Effort::Full => self.machine.patience(),
            Effort::Brief(time) => time,
        };
        let start = Instant::now();
        let mut revival = Revival::within(patience);
        loop {
            self.machine.alive();
            let wired = setup::wired();
            self.prepare(&wired);
            // This comes late, because only now a chip without its own address has its lasting one.
            let settings = self.networks.of_board(&macs(&wired))?;
            self.ask(wired, settings);
            self.asked.iter_mut().for_each(Asked::listen);
            let waited = start.elapsed();
            if let Some(network) = self.settle(waited, settings) {
                return Ok(network);
            }
            if self.seen.is_empty() && self.effort == Effort::Full {
                revival.step(&System::default(), waited);
            }
            if waited >= patience || self.has_no_hope() {
                for asked in &self.asked {
                    if self.effort == Effort::Full && asked.has_stalled() {
                        link::toggle(self.netlink, &asked.interface);
                    }
                }
                let seconds = patience.as_secs();
                return Err(verdict::nothing(
                    self.seen,
                    self.asked,
                    self.by_ipv6,
                    seconds,
                ));
            }
            thread::sleep(LOOK);
        }
    }

    fn prepare(&mut self, wired: &[Interface]) {
        for interface in wired {
            if !self.seen.iter().any(|(seen, _)| seen == interface) {
                // After an error the other interfaces may still do.
                let error = link::prepare(self.netlink, self.board, wired, interface).err();
                if let Some(error) = &error {
                    warn!("{error}: {} is left out", interface.name);
                }
                self.seen.push((interface.clone(), error));
            }
        }
    }

    fn ask(&mut self, wired: Vec<Interface>, settings: &Settings) {
        // An interface that comes back has another number and gets a new client. Its old client must end, because it would also send
        // requests on the interface with that name.
        self.asked.retain(|asked| wired.contains(&asked.interface));
        for interface in wired {
            let is_asked = self.asked.iter().any(|asked| asked.interface == interface);
            let (Some(mac), false) = (interface.mac(), is_asked) else {
                continue;
            };
            if interface.has_carrier() {
                let given = own(settings).map(setup::of_static);
                self.asked.push(Asked::start(interface, mac, given));
            }
        }
    }

    /// Whether no interface with a carrier can get any further.
    pub fn has_no_hope(&self) -> bool {
        let mut asked = self.asked.iter().peekable();
        asked.peek().is_some() && asked.all(|asked| asked.is_refused_by_kernel.is_some())
    }

    /// The index in `asked` of the interface to use. `None`: no interface is ready yet.
    fn choose(&self, waited: Duration) -> Option<usize> {
        let is_late = |time: Duration| waited >= time.min(self.machine.patience() / 2);
        let has_failed = |asked: &Asked| self.failed.contains(&asked.interface.index);
        let given = |asked: &Asked| asked.given.is_some();
        let announced = |asked: &Asked| ipv6::is_up(Path::new("/"), &asked.interface);
        let place = |is_right: &dyn Fn(&Asked) -> bool| {
            let is_right = |asked: &Asked| asked.is_refused_by_kernel.is_none() && is_right(asked);
            let mut fresh = self.asked.iter();
            fresh
                .position(|asked| !has_failed(asked) && is_right(asked))
                .or_else(|| {
                    let any = self.asked.iter().position(is_right);
                    any.filter(|_| is_late(OTHERS))
                })
        };
        if !self.by_ipv6 {
            return place(&given);
        }
        let both = place(&|asked| given(asked) && announced(asked));
        let one = || place(&announced).or_else(|| place(&given));
        both.or_else(|| is_late(OTHER_KIND).then(one).flatten())
    }

    /// Sets up the interface that is used. If that fails, tries the others.
    pub fn settle(&mut self, waited: Duration, settings: &Settings) -> Option<Network> {
        while let Some(place) = self.choose(waited) {
            match self.adopt(place, settings) {
                Ok(network) => return Some(network),
                Err(error) => {
                    let asked = &mut self.asked[place];
                    warn!("{error}: {} is left out", asked.interface.name);
                    asked.is_refused_by_kernel = Some(error);
                }
            }
        }
        None
    }

    /// Uses this interface. After an error the interface has no address, and its client has ended.
    fn adopt(&mut self, place: usize, settings: &Settings) -> Result<Network, NetworkError> {
        let asked = &mut self.asked[place];
        let interface = asked.interface.clone();
        let (client, given) = (asked.client.take(), asked.given.take());
        let mac = interface
            .mac()
            .ok_or("it has no MAC address")
            .map_err(kernel(format!("using {}", interface.name)))?;
        match &given {
            Some(configuration) => setup::begin(self.netlink, &interface, configuration)?,
            None => setup::longest_packet(self.netlink, &interface, None),
        }
        let keeper = match (client, &given) {
            (Some(client), Some(given)) => {
                Some(Keeper::start(client, interface.clone(), given.clone()))
            }
            _ => None,
        };
        Ok(Network {
            mac,
            carrier_changes: interface.carrier_changes(),
            sent: interface.packets_sent(),
            interface,
            settings: settings.clone(),
            configuration: given,
            keeper,
            failed: std::mem::take(&mut self.failed),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::Ipv4Addr;

    use super::super::testing::cable::{MAC, cable, ip};
    use super::super::testing::{asked, interfaces, search};
    use super::*;
    use crate::led::Led;

    #[test]
    fn an_address_in_a_vlan_is_not_the_agent_s() {
        let address = Some(Static {
            address: Ipv4Addr::new(192, 168, 1, 50),
            prefix: 24,
            gateway: None,
            dns: Vec::new(),
        });
        let mut settings = Settings {
            address: address.clone(),
            ..Settings::default()
        };
        assert_eq!(own(&settings), address.as_ref());
        settings.vlan = Some(7);
        assert_eq!(own(&settings), None);
    }

    #[test]
    fn an_interface_that_is_gone_has_no_client_any_more() {
        let root = tempfile::tempdir().expect("a directory");
        let two = interfaces(root.path(), &[(2, true), (3, true)]);
        let netlink = Netlink::open().expect("a netlink socket");
        let machine = Machine::new(Led::start(), Duration::from_secs(1));
        let networks = Networks::default();
        let both = two.iter().map(|interface| asked(interface, None));
        let mut search = search(&netlink, &machine, &networks, both.collect());
        search.ask(vec![two[1].clone()], &Settings::default());
        let left: Vec<u32> = search
            .asked
            .iter()
            .map(|left| left.interface.index)
            .collect();
        assert_eq!(left, [3]);
    }

    #[test]
    #[ignore = "needs root; `make test` runs it"]
    fn where_one_interface_cannot_be_set_up_the_next_one_is_used() {
        let root = tempfile::tempdir_in("/dev/shm").expect("a directory");
        let (netlink, interface, configuration) = cable(root.path());
        let describe = |name: &str, file: &str, text: &str| {
            let path = root.path().join("sys/class/net").join(name);
            fs::create_dir_all(&path).expect("an interface");
            fs::write(path.join(file), text).expect("a file");
        };
        describe("board", "address", &MAC.to_string());
        describe("gone", "address", &MAC.to_string());
        describe("gone", "ifindex", "4000");
        let gone = Interface::named(root.path(), "gone").expect("an interface");
        let asked = |interface: &Interface| Asked {
            given: Some(configuration.clone()),
            ..asked(interface, None)
        };
        let machine = Machine::new(Led::start(), Duration::from_secs(1));
        let networks = Networks::default();
        let mut search = search(
            &netlink,
            &machine,
            &networks,
            vec![asked(&gone), asked(&interface)],
        );
        let network = search.settle(Duration::ZERO, &Settings::default());
        assert_eq!(network.map(|network| network.interface), Some(interface));
        assert!(ip("address show board").contains("192.0.2.50/24"));

        search.asked = vec![asked(&gone)];
        assert!(
            search
                .settle(Duration::ZERO, &Settings::default())
                .is_none()
        );
        assert!(search.has_no_hope());
    }
}
