//! Step 4, network: link, stable MAC address, IP address.
//!
//! Every wired interface with a carrier asks for an address; the first one that gets it is used. One that did not lead to the
//! image server comes after the others the next time.

mod ipv6;
mod keeper;
mod setup;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use gild_boards::Board;
use gild_boards::mac::Mac;
use gild_card_format::{Networks, TwoSections};
use gild_dhcp::{Configuration, Event, Lease, News};
use gild_disk::revive::Revival;
use gild_disk::select::System;
use gild_faults::{Fault, HasFault};
use gild_format::network::{Settings, Static};
use gild_identity::{Interface, lasting_macs};
use keeper::Keeper;
use log::{info, warn};

use crate::dhcp::Client;
use crate::failure::{Remedy, StepError};
use crate::machine::Machine;
use crate::netlink::Netlink;

/// How often carriers and answers are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How long the other interfaces have time before one is used by which the server was not reached.
const OTHERS: Duration = Duration::from_secs(10);
/// How long the second of DHCP and a router's announcement has time, where the server is reached by IPv6 only.
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
    /// What the interface was set up with. `None`: the kernel has an IPv6 address, and nobody has given one of IPv4.
    configuration: Option<Configuration>,
    /// Keeps the lease, if there is one.
    keeper: Option<Keeper>,
    carrier_changes: Option<u64>,
    /// Packets sent when the network was last found good.
    sent: Option<u64>,
    /// The interfaces that did not lead to the server, by the kernel's numbers.
    failed: Vec<u32>,
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
    #[error("no carrier on {0} within {1} s")]
    NoCarrier(String, u64),
    /// Nobody answers.
    #[error("no DHCP answer on {0} within {1} s")]
    NoLease(String, u64),
    /// No router announces a network, and nobody answers.
    #[error("neither an IPv6 network nor a DHCP answer on {0} within {1} s")]
    NoIpv6(String, u64),
    /// A server takes back what it offers.
    #[error("the DHCP server {server} refused on {interface} what it had offered (NAK)")]
    Refused {
        /// The interface that asked.
        interface: String,
        /// The server that refused last.
        server: Ipv4Addr,
    },
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
            Self::NoInterface(_) | Self::TwoSections(_) | Self::Kernel { .. } => {
                self.fault().next_step()
            }
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

impl Network {
    /// Who may know the time: the servers that the card and DHCP name, and the router. Those of the card are asked first.
    pub fn time_servers(&self) -> impl Iterator<Item = Ipv4Addr> {
        let given = self.configuration.iter();
        let given = given.flat_map(|given| given.ntp.iter().copied().chain(given.gateway()));
        self.settings.ntp.iter().copied().chain(given)
    }

    /// Takes note that the image server was not reached by this interface.
    pub fn did_not_lead_to_server(&mut self) {
        if !self.failed.contains(&self.interface.index) {
            self.failed.push(self.interface.index);
        }
    }

    /// Whether the card says what it said, the link has stayed up and the node still has its address.
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

    /// Whether nothing has left the chip since the last look: each attempt sends something, unless there is no address any
    /// more.
    fn has_stalled(&self) -> bool {
        !self.is_lost() && has_stalled(&self.interface, self.sent)
    }

    /// An address of another network than the one that is plugged in now, or one by which the server was not reached.
    fn give_up(&self, netlink: &Netlink) {
        match (&self.keeper, &self.configuration) {
            (Some(keeper), _) => keeper.give_up(netlink, &self.interface),
            (None, Some(fixed)) => setup::end(netlink, &self.interface, fixed),
            (None, None) => (),
        }
    }
}

/// Gets the node an address, or keeps the one it has. If `present` is not empty after an error, that
/// network still works.
pub fn up<'a>(
    machine: &Machine,
    board: &Board,
    networks: &Networks,
    server: &str,
    present: &'a mut Option<Network>,
) -> Result<&'a mut Network, NetworkError> {
    let wired = setup::wired();
    let settings = networks.of_board(&macs(&wired))?;
    // Before the present one is taken: from there on it is kept or given up, or its lease would have a keeper forever.
    let netlink = setup::open()?;
    let failed = present.as_ref().map_or_else(Vec::new, |present| {
        others_first(&present.failed, present.interface.index, &wired)
    });
    let before = match present.take() {
        Some(mut network)
            if network.is_good(settings)
                && !network.has_stalled()
                && !may_another_lead(&failed, network.interface.index, &wired) =>
        {
            network.sent = network.interface.packets_sent();
            return Ok(present.insert(network));
        }
        other => other,
    };
    if let Some(before) = before {
        // Before it is given up: a lease that was lost is not a chip that has stalled.
        let has_stalled = before.has_stalled();
        before.give_up(&netlink);
        if has_stalled {
            toggle(&netlink, &before.interface);
        }
    }
    let by_ipv6 = server.parse::<Ipv6Addr>().is_ok();
    let network = Search {
        netlink: &netlink,
        machine,
        board,
        networks,
        by_ipv6,
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
    if !by_ipv6 {
        machine.alive();
        wait_for_ipv6(machine, server, &network.interface);
    }
    Ok(present.insert(network))
}

/// Gives the kernel time for an IPv6 address if the server's name has no other kind.
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

/// The interfaces that come after the others: those that failed, or only the last one once all have. None where there is no
/// other.
fn others_first(failed: &[u32], last: u32, wired: &[Interface]) -> Vec<u32> {
    let with_carrier: Vec<u32> = wired
        .iter()
        .filter(|interface| interface.has_carrier())
        .map(|interface| interface.index)
        .collect();
    let is_left = |failed: &[u32]| with_carrier.iter().any(|index| !failed.contains(index));
    if is_left(failed) {
        return failed.to_vec();
    }
    let only_last: Vec<u32> = failed
        .iter()
        .copied()
        .filter(|index| *index == last)
        .collect();
    if is_left(&only_last) {
        only_last
    } else {
        Vec::new()
    }
}

/// Whether the interface in use has failed, and there is one that may do better.
fn may_another_lead(failed: &[u32], present: u32, wired: &[Interface]) -> bool {
    failed.contains(&present)
        && wired
            .iter()
            .any(|interface| interface.has_carrier() && !failed.contains(&interface.index))
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

/// The search for an interface with an address.
struct Search<'a> {
    netlink: &'a Netlink,
    machine: &'a Machine,
    board: &'a Board,
    networks: &'a Networks,
    /// The server's address is one of IPv6.
    by_ipv6: bool,
    /// The interfaces that come after the others.
    failed: Vec<u32>,
    /// Those that were to be brought up, and why one was not.
    seen: Vec<(Interface, Option<NetworkError>)>,
    /// Those that have a carrier.
    asked: Vec<Asked>,
}

/// An interface with a carrier.
struct Asked {
    interface: Interface,
    /// Asks for an address, unless the card gives one.
    client: Option<Client>,
    given: Option<Configuration>,
    /// The server that refused last.
    refused_by: Option<Ipv4Addr>,
    /// Why it cannot ask.
    is_mute: Option<NetworkError>,
    /// Why it cannot be set up with the address that it was given.
    is_refused_by_kernel: Option<NetworkError>,
    /// Packets sent before it asked.
    sent: Option<u64>,
}

impl Asked {
    /// Whether what it asked has not left the chip.
    fn has_stalled(&self) -> bool {
        let has_asked = self.is_mute.is_none() && self.is_refused_by_kernel.is_none();
        has_asked && has_stalled(&self.interface, self.sent)
    }
}

impl Search<'_> {
    fn network(mut self) -> Result<Network, NetworkError> {
        let patience = self.machine.patience();
        let start = Instant::now();
        let mut revival = Revival::within(patience);
        loop {
            self.machine.alive();
            let wired = setup::wired();
            self.prepare(&wired);
            // Only now, because a chip without an address of its own has got the one that lasts.
            let settings = self.networks.of_board(&macs(&wired))?;
            self.ask(wired, settings);
            self.listen();
            let waited = start.elapsed();
            if let Some(network) = self.settle(waited, settings) {
                return Ok(network);
            }
            if self.seen.is_empty() {
                revival.step(&System::default(), waited);
            }
            if waited >= patience || self.has_no_hope() {
                for asked in &self.asked {
                    if asked.has_stalled() {
                        toggle(self.netlink, &asked.interface);
                    }
                }
                let seconds = patience.as_secs();
                return Err(nothing(self.seen, self.asked, self.by_ipv6, seconds));
            }
            thread::sleep(LOOK);
        }
    }

    fn prepare(&mut self, wired: &[Interface]) {
        for interface in wired {
            if !self.seen.iter().any(|(seen, _)| seen == interface) {
                // The others may do.
                let error = prepare(self.netlink, self.board, wired, interface).err();
                if let Some(error) = &error {
                    warn!("{error}: {} is left out", interface.name);
                }
                self.seen.push((interface.clone(), error));
            }
        }
    }

    fn ask(&mut self, wired: Vec<Interface>, settings: &Settings) {
        // One that comes back has another number and is asked again: its former client would ask by its name, too.
        self.asked.retain(|asked| wired.contains(&asked.interface));
        for interface in wired {
            let is_asked = self.asked.iter().any(|asked| asked.interface == interface);
            let (Some(mac), false) = (interface.mac(), is_asked) else {
                continue;
            };
            if interface.has_carrier() {
                let given = own(settings).map(setup::of_static);
                let client = match given {
                    Some(_) => None,
                    None => Some(Client::start(&interface.name, mac)),
                };
                self.asked.push(Asked {
                    sent: interface.packets_sent(),
                    interface,
                    client,
                    given,
                    refused_by: None,
                    is_mute: None,
                    is_refused_by_kernel: None,
                });
            }
        }
    }

    fn listen(&mut self) {
        for asked in &mut self.asked {
            let name = &asked.interface.name;
            while let Some(news) = asked.client.as_ref().and_then(Client::news) {
                match news {
                    News::Event(
                        Event::Bound(Lease { configuration, .. })
                        | Event::Renewed(Lease { configuration, .. }),
                    ) => {
                        asked.given = Some(configuration);
                    }
                    News::Event(Event::Refused(server)) => {
                        warn!(
                            "the DHCP server {server} refused what it had offered on {name} (NAK)"
                        );
                        asked.refused_by = Some(server);
                    }
                    News::Event(Event::Lost(_)) => asked.given = None,
                    News::Mute(error) => {
                        report_mute(&asked.interface, &error);
                        let action = format!("asking for an address on {name}");
                        asked.is_mute = Some(kernel(action)(error));
                    }
                    News::Asks => {
                        report_asking(&asked.interface);
                        asked.is_mute = None;
                    }
                }
            }
        }
    }

    /// Whether every interface with a carrier has got as far as it can.
    fn has_no_hope(&self) -> bool {
        let mut asked = self.asked.iter().peekable();
        asked.peek().is_some() && asked.all(|asked| asked.is_refused_by_kernel.is_some())
    }

    /// Which of the interfaces is used, by its place among those that were asked. `None`: none of them yet.
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

    /// Sets up the interface that is used. Where that fails the others may do.
    fn settle(&mut self, waited: Duration, settings: &Settings) -> Option<Network> {
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

    /// After an error the interface has nothing, and its client has ended.
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

fn report_mute(interface: &Interface, error: &io::Error) {
    warn!(
        "DHCP on {} cannot ask, and tries again: {error}",
        interface.name
    );
}

fn report_asking(interface: &Interface) {
    info!("DHCP on {} can ask now", interface.name);
}

/// Why no interface has an address. Where they are several: what kept the one back that got furthest.
fn nothing(
    seen: Vec<(Interface, Option<NetworkError>)>,
    asked: Vec<Asked>,
    by_ipv6: bool,
    seconds: u64,
) -> NetworkError {
    if seen.is_empty() {
        return NetworkError::NoInterface(seconds);
    }
    let mut refused_by_kernel = None;
    let mut refused = None;
    let mut silent = Vec::new();
    let mut mute = None;
    for asked in asked {
        let name = asked.interface.name.clone();
        if let Some(error) = asked.is_refused_by_kernel {
            refused_by_kernel.get_or_insert(error);
        } else if let Some(server) = asked.refused_by {
            refused.get_or_insert(NetworkError::Refused {
                interface: name,
                server,
            });
        } else if let Some(error) = asked.is_mute {
            mute.get_or_insert(error);
        } else if asked.interface.has_carrier() {
            silent.push(name);
        }
    }
    let silent = (!silent.is_empty()).then(|| {
        let names = silent.join(", ");
        if by_ipv6 {
            NetworkError::NoIpv6(names, seconds)
        } else {
            NetworkError::NoLease(names, seconds)
        }
    });
    let names: Vec<&str> = seen.iter().map(|(seen, _)| seen.name.as_str()).collect();
    let no_carrier = NetworkError::NoCarrier(names.join(", "), seconds);
    refused_by_kernel
        .or(refused)
        .or(silent)
        .or(mute)
        .or_else(|| seen.into_iter().find_map(|(_, error)| error))
        .unwrap_or(no_carrier)
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

#[cfg(test)]
mod tests {
    use std::fs;

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

    /// Interfaces with these numbers, with a carrier or without.
    fn interfaces(root: &Path, all: &[(u32, bool)]) -> Vec<Interface> {
        for (index, has_carrier) in all {
            let path = root.join(format!("sys/class/net/eth{index}"));
            fs::create_dir_all(path.join("device")).expect("an interface");
            let carrier = u8::from(*has_carrier).to_string();
            for (name, text) in [
                ("ifindex", index.to_string()),
                ("type", "1".to_owned()),
                ("carrier", carrier),
            ] {
                fs::write(path.join(name), text).expect("a file");
            }
        }
        Interface::wired(root)
    }

    #[test]
    fn an_interface_that_failed_comes_after_the_others_until_all_have() {
        let root = tempfile::tempdir().expect("a directory");
        let two = interfaces(root.path(), &[(2, true), (3, true)]);
        assert_eq!(others_first(&[], 2, &two), [] as [u32; 0]);
        assert!(!may_another_lead(&[], 2, &two), "it has not failed");
        assert_eq!(others_first(&[2], 2, &two), [2]);
        assert!(may_another_lead(&[2], 2, &two));
        assert_eq!(others_first(&[2, 3], 3, &two), [3], "the first one again");
        assert!(may_another_lead(&[3], 3, &two));

        let root = tempfile::tempdir().expect("a directory");
        let one = interfaces(root.path(), &[(2, true), (3, false)]);
        assert_eq!(others_first(&[2], 2, &one), [] as [u32; 0]);
        assert!(!may_another_lead(&[2], 2, &one), "the other has no cable");
    }

    fn asked(interface: &Interface, refused_by: Option<Ipv4Addr>) -> Asked {
        Asked {
            interface: interface.clone(),
            client: None,
            given: None,
            refused_by,
            is_mute: None,
            is_refused_by_kernel: None,
            sent: None,
        }
    }

    #[test]
    fn an_interface_that_is_gone_has_no_client_any_more() {
        let root = tempfile::tempdir().expect("a directory");
        let two = interfaces(root.path(), &[(2, true), (3, true)]);
        let netlink = Netlink::open().expect("a netlink socket");
        let machine = Machine::new(Led::start(), Duration::from_secs(1));
        let networks = Networks::default();
        let mut search = Search {
            netlink: &netlink,
            machine: &machine,
            board: &gild_boards::all()[0],
            networks: &networks,
            by_ipv6: false,
            failed: Vec::new(),
            seen: Vec::new(),
            asked: two.iter().map(|interface| asked(interface, None)).collect(),
        };
        search.ask(vec![two[1].clone()], &Settings::default());
        let left: Vec<u32> = search
            .asked
            .iter()
            .map(|left| left.interface.index)
            .collect();
        assert_eq!(left, [3]);
    }

    /// Interfaces that were brought up.
    fn brought_up(interfaces: &[Interface]) -> Vec<(Interface, Option<NetworkError>)> {
        let all = interfaces.iter();
        all.map(|interface| (interface.clone(), None)).collect()
    }

    #[test]
    fn a_refusal_is_another_error_than_silence_and_has_other_advice() {
        let root = tempfile::tempdir().expect("a directory");
        let one = interfaces(root.path(), &[(2, true)]);
        let error = |refused_by: Option<Ipv4Addr>, by_ipv6: bool| {
            let asked = vec![asked(&one[0], refused_by)];
            let error = nothing(brought_up(&one), asked, by_ipv6, 30);
            (error.to_string(), error.next_step())
        };
        let (silence, advice) = error(None, false);
        assert_eq!(silence, "no DHCP answer on eth2 within 30 s");
        let server = Some(Ipv4Addr::new(192, 168, 1, 1));
        let (refusal, other_advice) = error(server, false);
        assert!(refusal.contains("192.168.1.1 refused"), "{refusal}");
        assert_ne!(advice, other_advice);
        assert!(error(None, true).0.contains("IPv6"));
        let no_cable = nothing(brought_up(&one), Vec::new(), false, 30);
        assert_eq!(no_cable.to_string(), "no carrier on eth2 within 30 s");
    }

    #[test]
    fn of_several_interfaces_the_one_that_got_furthest_says_what_is_wrong() {
        let root = tempfile::tempdir().expect("a directory");
        let all = [(2, true), (3, true), (4, false), (5, false)];
        let all = interfaces(root.path(), &all);
        let by_kernel = |action: &str| Some(kernel(action)("error 5"));
        let error = |asked: Vec<Asked>| {
            let mut seen = brought_up(&all);
            seen[3].1 = by_kernel("bringing eth5 up");
            nothing(seen, asked, false, 30).to_string()
        };
        assert_eq!(error(Vec::new()), "bringing eth5 up failed: error 5");
        let without_cable = || asked(&all[2], None);
        assert_eq!(
            error(vec![without_cable()]),
            "bringing eth5 up failed: error 5",
            "the cable was pulled out"
        );
        let mute = || Asked {
            is_mute: by_kernel("asking on eth3"),
            ..asked(&all[1], None)
        };
        assert_eq!(
            error(vec![without_cable(), mute()]),
            "asking on eth3 failed: error 5"
        );
        let silent = || asked(&all[0], None);
        assert_eq!(
            error(vec![mute(), silent(), without_cable()]),
            "no DHCP answer on eth2 within 30 s"
        );
        let refused = || asked(&all[1], Some(Ipv4Addr::new(192, 168, 1, 1)));
        assert!(error(vec![silent(), refused()]).contains("refused on eth3"));
        let given = Asked {
            is_refused_by_kernel: by_kernel("giving eth2 an address"),
            ..asked(&all[0], None)
        };
        assert_eq!(
            error(vec![refused(), given, mute()]),
            "giving eth2 an address failed: error 5"
        );
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

        let all = Interface::wired(root.path());
        let asked = || Asked {
            sent: Some(17),
            ..asked(&all[0], None)
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
