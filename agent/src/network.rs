//! Step 4, network: link, stable MAC address, IPv4 address.
//!
//! Every wired interface is brought up; the first one that gets an address is used.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use gild_boards::Board;
use gild_boards::mac::Mac;
use gild_card_format::{Networks, TwoSections};
use gild_disk::revive::Revival;
use gild_disk::select::System;
use gild_faults::{Fault, HasFault};
use gild_format::network::{Settings, Static};
use gild_identity::{Interface, lasting_macs};
use log::{info, warn};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::dhcp::{self, Lease};
use crate::failure::{Remedy, StepError};
use crate::machine::Machine;
use crate::netlink::Netlink;
use crate::resolv_conf;

/// How often carriers are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// The node's place in the network.
#[derive(Clone, Debug)]
pub struct Network {
    /// The interface in use.
    pub interface: Interface,
    /// Its MAC address.
    pub mac: Mac,
    /// Where its IP address comes from.
    pub address: Static,
    /// What the card says about the network of this board.
    pub settings: Settings,
    named_time_servers: Vec<Ipv4Addr>,
    /// When the lease is half over.
    renew: Option<Instant>,
    carrier_changes: Option<u64>,
    /// Packets sent when the network was last found good.
    sent: Option<u64>,
}

/// There is no network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel shows none.
    #[error(
        "no wired network interface was found within {0} s: is its kernel module on the card (initramfs)?"
    )]
    NoInterface(u64),
    /// No cable, or the other end is off.
    #[error("no carrier on {0} within {1} s: check the cable and the switch")]
    NoCarrier(String, u64),
    /// Nobody answers.
    #[error(
        "no DHCP answer on {0} within {1} s: check the DHCP server, or set [network] in gild.toml on the card"
    )]
    NoLease(String, u64),
    /// The card does not say which.
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
    fn remedy(&self) -> Remedy {
        match self {
            Self::NoInterface(_) => Remedy::Restart,
            Self::NoCarrier(..)
            | Self::NoLease(..)
            | Self::TwoSections(_)
            | Self::Kernel { .. } => Remedy::LookAgain,
        }
    }
}

impl Network {
    /// Who may know the time: the servers that the card and DHCP name, and the router.
    pub fn time_servers(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.named_time_servers
            .iter()
            .copied()
            .chain(self.address.gateway)
    }

    /// Whether the card says what it said, the link has stayed up and the lease is fresh.
    fn is_good(&self, settings: &Settings) -> bool {
        *settings == self.settings
            && self.renew.is_none_or(|renew| Instant::now() < renew)
            && self.interface.has_carrier()
            && self.interface.carrier_changes() == self.carrier_changes
    }

    /// Whether nothing has left the chip since the last look: each attempt sends something.
    fn has_stalled(&self) -> bool {
        has_stalled(&self.interface, self.sent)
    }
}

/// Gets the node an address, or keeps the one it has.
pub fn up(
    machine: &Machine,
    board: &Board,
    networks: &Networks,
    present: Option<Network>,
) -> Result<Network, NetworkError> {
    let settings = networks.of_board(&macs(&Interface::wired(Path::new("/"))))?;
    let before = match present {
        Some(mut network) if network.is_good(settings) && !network.has_stalled() => {
            network.sent = network.interface.packets_sent();
            return Ok(network);
        }
        other => other,
    };
    let network = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(kernel("starting the network client"))?
        .block_on(bring_up(machine, board, networks, before))?;
    info!(
        "network {} {} {}/{}",
        network.interface.name, network.mac, network.address.address, network.address.prefix
    );
    Ok(network)
}

fn macs(wired: &[Interface]) -> Vec<Mac> {
    wired.iter().filter_map(Interface::mac).collect()
}

/// The address that the agent gives itself. One in a VLAN is the node's: the agent stays outside.
fn own(settings: &Settings) -> Option<&Static> {
    match settings.vlan {
        None => settings.address.as_ref(),
        Some(_) => None,
    }
}

/// Whether an interface with a carrier has sent nothing since. The MAC of the Raspberry Pi 5 (macb) can stop like this, with
/// no word from its driver, until the link is taken down and up again (raspberrypi/linux#7339).
fn has_stalled(interface: &Interface, sent: Option<u64>) -> bool {
    sent.is_some() && interface.packets_sent() == sent && interface.has_carrier()
}

fn kernel<E: std::fmt::Display>(action: impl Into<String>) -> impl FnOnce(E) -> NetworkError {
    let action = action.into();
    move |error| NetworkError::Kernel {
        action,
        error: error.to_string(),
    }
}

async fn bring_up(
    machine: &Machine,
    board: &Board,
    networks: &Networks,
    before: Option<Network>,
) -> Result<Network, NetworkError> {
    let netlink = Netlink::open().map_err(kernel("opening a netlink socket"))?;
    if let Some(before) = before {
        give_up(&netlink, &before);
        if before.has_stalled() {
            toggle(&netlink, &before.interface);
        }
    }

    let patience = machine.patience();
    let deadline = Instant::now() + patience;
    let mut seen = Vec::new();
    let mut asked = HashMap::new();
    let mut revival = Revival::within(patience);
    let mut leases = JoinSet::new();
    loop {
        machine.alive();
        let wired = Interface::wired(Path::new("/"));
        for interface in &wired {
            if !seen.contains(interface) {
                // The others may do. What stays down has no carrier, and is named if none has.
                if let Err(error) = prepare(&netlink, board, &wired, interface) {
                    warn!("{error}: {} is left out", interface.name);
                }
                seen.push(interface.clone());
            }
        }
        // Only now, because a chip without an address of its own has got the one that lasts.
        let settings = networks.of_board(&macs(&wired))?;
        for interface in wired {
            if interface.has_carrier() && !asked.contains_key(&interface.index) {
                if let Some(address) = own(settings) {
                    let lease = Lease {
                        address: address.clone(),
                        time_servers: Vec::new(),
                        renew: None,
                    };
                    return apply(&netlink, interface, settings, lease);
                }
                asked.insert(interface.index, interface.packets_sent());
                leases.spawn(async { (dhcp::lease(&interface).await, interface) });
            }
        }
        match timeout(LOOK, leases.join_next()).await {
            Ok(Some(Ok((Ok(lease), interface)))) => {
                return apply(&netlink, interface, settings, lease);
            }
            Ok(Some(Ok((Err(error), interface)))) => {
                warn!("DHCP on {} failed: {error}", interface.name);
                asked.remove(&interface.index);
                tokio::time::sleep(LOOK).await;
            }
            Ok(Some(Err(error))) => return Err(kernel("asking for a DHCP lease")(error)),
            Ok(None) => tokio::time::sleep(LOOK).await,
            Err(_) => (),
        }
        let waited = patience.saturating_sub(deadline.saturating_duration_since(Instant::now()));
        if seen.is_empty() {
            revival.step(&System::default(), waited);
        }
        if waited >= patience {
            for interface in &seen {
                let sent = asked.get(&interface.index).copied().flatten();
                if has_stalled(interface, sent) {
                    toggle(&netlink, interface);
                }
            }
            return Err(nothing(&seen, &asked, patience.as_secs()));
        }
    }
}

fn nothing(seen: &[Interface], asked: &HashMap<u32, Option<u64>>, seconds: u64) -> NetworkError {
    let names = |of: Vec<&Interface>| {
        of.iter()
            .map(|interface| interface.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    if seen.is_empty() {
        NetworkError::NoInterface(seconds)
    } else if asked.is_empty() {
        NetworkError::NoCarrier(names(seen.iter().collect()), seconds)
    } else {
        let asked = seen
            .iter()
            .filter(|interface| asked.contains_key(&interface.index));
        NetworkError::NoLease(names(asked.collect()), seconds)
    }
}

/// A lease that is half over, or one of another network than the one that is plugged in now.
fn give_up(netlink: &Netlink, before: &Network) {
    let Static {
        address, prefix, ..
    } = before.address;
    if let Err(error) = netlink.remove_address(before.interface.index, address, prefix) {
        warn!(
            "cannot remove the old address {address} from {}: {error}",
            before.interface.name
        );
    }
}

/// Takes the link down and up, which has the driver set up the chip again.
fn toggle(netlink: &Netlink, interface: &Interface) {
    let name = &interface.name;
    warn!("{name} has a carrier and sends nothing: taking its link down and up again");
    let index = interface.index;
    if let Err(error) = netlink
        .take_down(index)
        .and_then(|()| netlink.bring_up(index, None))
    {
        warn!("taking the link of {name} down and up failed: {error}");
    }
}

/// Takes an interface over: a MAC address that lasts, link up.
fn prepare(
    netlink: &Netlink,
    board: &Board,
    wired: &[Interface],
    interface: &Interface,
) -> Result<(), NetworkError> {
    let mut change = None;
    if interface.has_random_mac() {
        let mac =
            lasting_macs(Path::new("/"), board, wired).and_then(|mut macs| macs.remove(interface));
        if let Some(mac) = mac {
            info!(
                "{} has no MAC address of its own: {mac} from the board's number",
                interface.name
            );
            change = Some(mac);
        } else {
            warn!(
                "{} has no MAC address of its own, and this board has no number to make one from: \
                 the node will be another one after each start",
                interface.name
            );
        }
    }
    netlink
        .bring_up(interface.index, change)
        .map_err(kernel(format!("bringing {} up", interface.name)))
}

fn apply(
    netlink: &Netlink,
    interface: Interface,
    settings: &Settings,
    lease: Lease,
) -> Result<Network, NetworkError> {
    let Lease {
        address,
        time_servers,
        renew,
    } = lease;
    let Static {
        address: ip,
        prefix,
        gateway,
        dns,
    } = &address;
    netlink
        .add_address(interface.index, *ip, *prefix)
        .map_err(kernel(format!(
            "giving {} the address {ip}/{prefix}",
            interface.name
        )))?;
    if let Some(router) = gateway {
        netlink
            .route_by(interface.index, *router)
            .map_err(kernel(format!("setting the route by {router}")))?;
    }
    resolv_conf::write(dns).map_err(kernel("writing /etc/resolv.conf"))?;
    Ok(Network {
        mac: interface
            .mac()
            .ok_or("it has no MAC address")
            .map_err(kernel(format!("using {}", interface.name)))?,
        carrier_changes: interface.carrier_changes(),
        sent: interface.packets_sent(),
        interface,
        address,
        settings: settings.clone(),
        // Those of the card are asked first.
        named_time_servers: [settings.ntp.clone(), time_servers].concat(),
        renew,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

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
    fn a_carrier_and_a_counter_that_stands_still_are_a_stall() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("sys/class/net/eth0");
        fs::create_dir_all(path.join("device")).expect("an interface");
        fs::create_dir_all(path.join("statistics")).expect("its counters");
        let put = |name: &str, text: &str| fs::write(path.join(name), text).expect("a file");
        put("ifindex", "2\n");
        put("type", "1\n");
        let stalled = |carrier, sent, before| {
            put("carrier", carrier);
            put("statistics/tx_packets", sent);
            let all = Interface::wired(root.path());
            has_stalled(all.first().expect("it is wired"), before)
        };
        assert!(stalled("1\n", "17\n", Some(17)));
        assert!(!stalled("1\n", "18\n", Some(17)), "it sends");
        assert!(!stalled("0\n", "17\n", Some(17)), "there is no cable");
        assert!(!stalled("1\n", "17\n", None), "nothing is known of before");
    }
}
