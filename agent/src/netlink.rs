//! The changes to interfaces, addresses and routes that the agent asks the kernel for.

use std::error::Error;
use std::io;
use std::net::Ipv4Addr;

use gild_boards::mac::Mac;
use gild_dhcp::Route;
use neli::consts::nl::NlmF;
use neli::consts::rtnl::{
    Ifa, Ifla, RtAddrFamily, RtScope, RtTable, Rta, RtaType, Rtm, Rtn, Rtprot,
};
use neli::consts::socket::NlFamily;
use neli::nl::{NlPayload, NlmsghdrBuilder};
use neli::rtnl::{IfaddrmsgBuilder, IfinfomsgBuilder, RtattrBuilder, RtmsgBuilder};
use neli::socket::synchronous::NlSocketHandle;
use neli::types::{Buffer, RtBuffer};
use neli::utils::Groups;
use neli::{FromBytesWithInput, Size, ToBytes};

/// The kernel's own answer is the only expected failure. Any other would be a mistake in a message built here.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A connection to the kernel's routing tables.
pub struct Netlink {
    socket: NlSocketHandle,
}

impl Netlink {
    /// Connects.
    pub fn open() -> Result<Self> {
        Ok(Self {
            socket: NlSocketHandle::connect(NlFamily::Route, None, Groups::empty())?,
        })
    }

    /// Brings an interface up, with another MAC address if one is given.
    pub fn bring_up(&self, interface: u32, mac: Option<Mac>) -> Result<()> {
        let mut attributes = RtBuffer::new();
        if let Some(mac) = mac {
            attributes.push(attribute(Ifla::Address, mac.0)?);
        }
        let message = IfinfomsgBuilder::default()
            .ifi_family(RtAddrFamily::Unspecified)
            .ifi_index(interface.try_into()?)
            .rtattrs(attributes)
            .up();
        self.request(Rtm::Newlink, NlmF::empty(), message.build()?)
    }

    /// Takes an interface down.
    pub fn take_down(&self, interface: u32) -> Result<()> {
        let message = IfinfomsgBuilder::default()
            .ifi_family(RtAddrFamily::Unspecified)
            .ifi_index(interface.try_into()?)
            .down();
        self.request(Rtm::Newlink, NlmF::empty(), message.build()?)
    }

    /// Gives an interface an address.
    pub fn add_address(&self, interface: u32, address: Ipv4Addr, prefix: u8) -> Result<()> {
        let flags = NlmF::CREATE | NlmF::REPLACE;
        self.address(Rtm::Newaddr, flags, interface, address, prefix)
    }

    /// Removes an address from an interface, and with it the routes that it brought.
    pub fn remove_address(&self, interface: u32, address: Ipv4Addr, prefix: u8) -> Result<()> {
        self.address(Rtm::Deladdr, NlmF::empty(), interface, address, prefix)
    }

    fn address(
        &self,
        request: Rtm,
        flags: NlmF,
        interface: u32,
        address: Ipv4Addr,
        prefix: u8,
    ) -> Result<()> {
        let mut attributes = RtBuffer::new();
        attributes.push(attribute(Ifa::Local, address.octets())?);
        attributes.push(attribute(Ifa::Address, address.octets())?);
        let message = IfaddrmsgBuilder::default()
            .ifa_family(RtAddrFamily::Inet)
            .ifa_prefixlen(prefix)
            .ifa_scope(RtScope::Universe)
            .ifa_index(interface)
            .rtattrs(attributes);
        self.request(request, flags, message.build()?)
    }

    /// Adds a route, or replaces the route to the same network.
    pub fn add_route(&self, interface: u32, route: &Route) -> Result<()> {
        self.route(
            Rtm::Newroute,
            NlmF::CREATE | NlmF::REPLACE,
            interface,
            route,
        )
    }

    /// Takes a route away.
    pub fn remove_route(&self, interface: u32, route: &Route) -> Result<()> {
        self.route(Rtm::Delroute, NlmF::empty(), interface, route)
    }

    fn route(&self, request: Rtm, flags: NlmF, interface: u32, route: &Route) -> Result<()> {
        let mut attributes = RtBuffer::new();
        attributes.push(attribute(Rta::Oif, interface)?);
        if route.prefix > 0 {
            attributes.push(attribute(Rta::Dst, route.network.octets())?);
        }
        if let Some(router) = route.router {
            attributes.push(attribute(Rta::Gateway, router.octets())?);
        }
        let message = RtmsgBuilder::default()
            .rtm_family(RtAddrFamily::Inet)
            .rtm_dst_len(route.prefix)
            .rtm_src_len(0)
            .rtm_tos(0)
            .rtm_table(RtTable::Main)
            .rtm_protocol(Rtprot::Boot)
            .rtm_scope(if route.router.is_some() {
                RtScope::Universe
            } else {
                RtScope::Link
            })
            .rtm_type(Rtn::Unicast)
            .rtattrs(attributes);
        self.request(request, flags, message.build()?)
    }

    /// Sets the longest packet of an interface, bytes.
    pub fn set_mtu(&self, interface: u32, mtu: u16) -> Result<()> {
        let mut attributes = RtBuffer::new();
        attributes.push(attribute(Ifla::Mtu, u32::from(mtu))?);
        let message = IfinfomsgBuilder::default()
            .ifi_family(RtAddrFamily::Unspecified)
            .ifi_index(interface.try_into()?)
            .rtattrs(attributes);
        self.request(Rtm::Newlink, NlmF::empty(), message.build()?)
    }

    /// Sends one request and waits for the kernel's answer to it.
    fn request<P>(&self, request: Rtm, flags: NlmF, message: P) -> Result<()>
    where
        P: Size + ToBytes + FromBytesWithInput<Input = usize> + std::fmt::Debug,
    {
        let message = NlmsghdrBuilder::default()
            .nl_type(request)
            .nl_flags(NlmF::REQUEST | NlmF::ACK | flags)
            .nl_payload(NlPayload::Payload(message))
            .build()?;
        self.socket.send(&message)?;
        let (answers, _) = self.socket.recv::<Rtm, P>()?;
        for answer in answers {
            if let NlPayload::Err(refusal) = answer?.nl_payload() {
                return Err(io::Error::from_raw_os_error(-refusal.error()).into());
            }
        }
        Ok(())
    }
}

fn attribute<T, P>(kind: T, value: P) -> Result<neli::rtnl::Rtattr<T, Buffer>>
where
    T: RtaType + Size,
    P: Size + ToBytes,
{
    Ok(RtattrBuilder::default()
        .rta_type(kind)
        .rta_payload(value)
        .build()?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::UdpSocket;
    use std::process::Command;

    use nix::sched::{CloneFlags, unshare};

    use super::*;

    /// The loopback interface in a network namespace of this thread's own. So netlink is real, but no real network changes.
    const LOOPBACK: u32 = 1;

    fn routes() -> Vec<(String, String)> {
        let table = fs::read_to_string("/proc/thread-self/net/route").expect("the routing table");
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        table
            .lines()
            .skip(1)
            .map(words)
            .map(|words| (words[1].clone(), words[2].clone()))
            .collect()
    }

    #[test]
    #[ignore = "needs root; `make test` runs it"]
    fn the_kernel_takes_address_route_and_mac_and_gives_them_up() {
        unshare(CloneFlags::CLONE_NEWNET)
            .expect("a network namespace: run this as root, as `make test` does");
        let netlink = Netlink::open().expect("a netlink socket");
        let mac = Mac([0x3e, 0x30, 0x52, 0xfe, 0x83, 0x1a]);
        let address = Ipv4Addr::new(192, 0, 2, 7);
        let router = Ipv4Addr::new(198, 51, 100, 1);

        netlink.bring_up(LOOPBACK, Some(mac)).expect("link up");
        netlink
            .add_address(LOOPBACK, address, 32)
            .expect("an address");
        // The router is outside the prefix.
        let routes_by = [Route::on_link(router, 32), Route::to_all_by(router)];
        for route in &routes_by {
            netlink.add_route(LOOPBACK, route).expect("a route");
        }
        // The same again, as after a renewed lease.
        netlink
            .add_address(LOOPBACK, address, 32)
            .expect("the same address");
        for route in &routes_by {
            netlink.add_route(LOOPBACK, route).expect("the same route");
        }
        let network = Route {
            router: Some(router),
            ..Route::on_link(Ipv4Addr::new(10, 20, 0, 0), 16)
        };
        netlink
            .add_route(LOOPBACK, &network)
            .expect("a route to one network");
        netlink.set_mtu(LOOPBACK, 1400).expect("another MTU");
        let link = Command::new("ip").args(["link", "show", "lo"]).output();
        let link = link.expect("iproute2 is installed by `make setup`");
        assert!(String::from_utf8_lossy(&link.stdout).contains("mtu 1400"));

        UdpSocket::bind((address, 0)).expect("the address is this machine's");
        let by_router = ("00000000".to_owned(), hex::encode_upper(reversed(router)));
        assert!(routes().contains(&by_router), "{:?}", routes());
        let to_network = ("0000140A".to_owned(), hex::encode_upper(reversed(router)));
        assert!(routes().contains(&to_network), "{:?}", routes());

        netlink
            .remove_address(LOOPBACK, address, 32)
            .expect("the address gone");
        UdpSocket::bind((address, 0)).expect_err("the address is nobody's");
        let refusal = netlink
            .remove_address(LOOPBACK, address, 32)
            .expect_err("there is no such address");
        assert!(refusal.to_string().contains("os error"), "{refusal}");
    }

    #[test]
    #[ignore = "needs root; `make test` runs it"]
    fn an_interface_goes_down_and_comes_up_again() {
        unshare(CloneFlags::CLONE_NEWNET)
            .expect("a network namespace: run this as root, as `make test` does");
        let netlink = Netlink::open().expect("a netlink socket");
        let router = Ipv4Addr::new(198, 51, 100, 1);
        netlink.bring_up(LOOPBACK, None).expect("link up");
        let route = Route::on_link(router, 32);
        netlink.add_route(LOOPBACK, &route).expect("a route");
        netlink.take_down(LOOPBACK).expect("link down");
        assert_eq!(routes(), [], "an interface that is down has no routes");
        netlink.bring_up(LOOPBACK, None).expect("link up");
        netlink.add_route(LOOPBACK, &route).expect("a route again");
    }

    /// An address in the form of the kernel's routing table.
    fn reversed(address: Ipv4Addr) -> Vec<u8> {
        address.octets().into_iter().rev().collect()
    }
}
