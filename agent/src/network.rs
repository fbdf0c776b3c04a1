//! Step 4, network: link, stable MAC address, IP address.
//!
//! Every wired interface with a carrier asks for an address, and the first one that gets it is used. An interface that did not lead to the
//! image server comes after the others the next time.

mod asked;
mod error;
mod ipv6;
mod keeper;
mod link;
mod others;
mod search;
mod setup;
#[cfg(test)]
mod testing;
mod verdict;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use gild_boards::Board;
use gild_boards::mac::Mac;
use gild_card_format::Networks;
use gild_dhcp::Configuration;
use gild_format::network::Settings;
use gild_identity::Interface;
use keeper::Keeper;
use log::{info, warn};

use crate::machine::Machine;
use crate::netlink::Netlink;
pub use error::NetworkError;
use search::Search;

/// How often carriers and answers are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// If the server can be reached only by IPv6, the agent waits for both DHCP and a router's announcement. This is how long it waits for the
/// second one.
const OTHER_KIND: Duration = Duration::from_secs(5);

/// The node's place in the network.
#[derive(Clone, Debug)]
pub struct Network {
    /// The interface in use.
    pub interface: Interface,
    /// Its MAC address.
    pub mac: Mac,
    /// What the card says about the network of this board.
    pub settings: Settings,
    /// How the interface was set up. `None` if the kernel has an IPv6 address and there is no IPv4 address.
    configuration: Option<Configuration>,
    /// Keeps the lease, if there is one.
    keeper: Option<Keeper>,
    carrier_changes: Option<u64>,
    /// How many packets had been sent when the network was last found good.
    sent: Option<u64>,
    /// The interfaces that did not lead to the server, by the kernel's numbers.
    failed: Vec<u32>,
}

impl Network {
    /// The servers that may know the time: first those of the card, then those of DHCP, then the router.
    pub fn time_servers(&self) -> impl Iterator<Item = Ipv4Addr> {
        let given = self.configuration.iter();
        let given = given.flat_map(|given| given.ntp.iter().copied().chain(given.gateway()));
        self.settings.ntp.iter().copied().chain(given)
    }

    /// Its IPv4 address, if it has one.
    pub fn address(&self) -> Option<String> {
        let given = self.configuration.as_ref();
        given.map(|given| given.address.to_string())
    }

    /// Notes that this interface did not lead to the image server.
    pub fn did_not_lead_to_server(&mut self) {
        if !self.failed.contains(&self.interface.index) {
            self.failed.push(self.interface.index);
        }
    }

    /// Whether the card's settings are the same, the link has stayed up, and the node still has its address.
    fn is_good(&self, settings: &Settings) -> bool {
        let has_address = match &self.configuration {
            Some(_) => !self.is_lost(),
            None => ipv6::is_up(Path::new("/"), &self.interface),
        };
        *settings == self.settings
            && has_address
            && self.interface.has_carrier()
            && self.interface.carrier_changes() == self.carrier_changes
    }

    fn is_lost(&self) -> bool {
        self.keeper.as_ref().is_some_and(Keeper::is_lost)
    }

    /// Whether the chip has sent nothing since the last look. Each attempt sends something, unless the address is lost.
    fn has_stalled(&self) -> bool {
        !self.is_lost() && link::has_stalled(&self.interface, self.sent)
    }

    /// Gives up the address, because there is another network now or the server was not reached from this address.
    fn give_up(&self, netlink: &Netlink) {
        match (&self.keeper, &self.configuration) {
            (Some(keeper), _) => keeper.give_up(netlink, &self.interface),
            (None, Some(fixed)) => setup::end(netlink, &self.interface, fixed),
            (None, None) => (),
        }
    }
}

/// How hard to try to get an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Try everything that may help, for as long as a step may wait.
    Full,
    /// Only wait, and at most this long, because the disk can also be started without a network.
    Brief(Duration),
}

/// Gets an address for the node, or keeps the one that it has. If this fails and `present` is still set, that network still works.
pub fn up<'a>(
    machine: &Machine,
    board: &Board,
    networks: &Networks,
    server: &str,
    present: &'a mut Option<Network>,
    effort: Effort,
) -> Result<&'a mut Network, NetworkError> {
    let wired = setup::wired();
    let settings = networks.of_board(&macs(&wired))?;
    // This can fail, so it comes before the present network is taken out of `present`. From there on the network must be kept or given up.
    // Otherwise the keeper of its lease would run forever.
    let netlink = setup::open()?;
    let failed = present.as_ref().map_or_else(Vec::new, |present| {
        others::others_first(&present.failed, present.interface.index, &wired)
    });
    let before = match present.take() {
        Some(mut network)
            if network.is_good(settings)
                && !network.has_stalled()
                && !others::may_another_lead(&failed, network.interface.index, &wired) =>
        {
            network.sent = network.interface.packets_sent();
            return Ok(present.insert(network));
        }
        other => other,
    };
    if let Some(before) = before {
        // This is asked before the network is given up. A lost lease must not look like a stalled chip.
        let has_stalled = before.has_stalled();
        before.give_up(&netlink);
        if has_stalled {
            link::toggle(&netlink, &before.interface);
        }
    }
    let by_ipv6 = server.parse::<Ipv6Addr>().is_ok();
    let network = Search {
        netlink: &netlink,
        machine,
        board,
        networks,
        by_ipv6,
        effort,
        failed,
        seen: Vec::new(),
        asked: Vec::new(),
    }
    .network()?;
    let name = &network.interface.name;
    match &network.configuration {
        Some(Configuration {
            address, prefix, ..
        }) => info!("network {name} {} {address}/{prefix}", network.mac),
        None => info!("network {name} {} by IPv6 only", network.mac),
    }
    if !by_ipv6 && effort == Effort::Full {
        machine.alive();
        wait_for_ipv6(machine, server, &network.interface);
    }
    Ok(present.insert(network))
}

/// If the server's name has only IPv6 addresses, waits for the kernel to get one too.
fn wait_for_ipv6(machine: &Machine, server: &str, interface: &Interface) {
    let deadline = Instant::now() + OTHER_KIND;
    let is_up = || ipv6::is_up(Path::new("/"), interface);
    if is_up() || !ipv6::is_only_way_to(server) {
        return;
    }
    while !is_up() {
        if Instant::now() >= deadline {
            warn!(
                "{server} is reached by IPv6 only, and no router has announced a network on {}",
                interface.name
            );
            return;
        }
        machine.wait(LOOK);
    }
}

fn macs(wired: &[Interface]) -> Vec<Mac> {
    wired.iter().filter_map(Interface::mac).collect()
}
