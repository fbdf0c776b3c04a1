//! The changes to interfaces, addresses and routes that the agent asks the kernel for.

use std::error::Error;
use std::io;
use std::net::Ipv4Addr;

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

use crate::mac::Mac;

/// Every failure but the kernel's own answer would be a mistake in a message built here.
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

    /// Gives an interface an address.
    pub fn add_address(&self, interface: u32, address: Ipv4Addr, prefix: u8) -> Result<()> {
        let flags = NlmF::CREATE | NlmF::REPLACE;
        self.address(Rtm::Newaddr, flags, interface, address, prefix)
    }

    /// Takes an address from an interface, and with it the routes that it brought.
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

    /// Reaches all other networks through a router.
    ///
    /// The router gets a route of its own first: some networks hand out a /32 and a router outside it.
    pub fn route_by(&self, interface: u32, router: Ipv4Addr) -> Result<()> {
        self.route(interface, Some(router), None)?;
        self.route(interface, None, Some(router))
    }

    fn route(
        &self,
        interface: u32,
        destination: Option<Ipv4Addr>,
        router: Option<Ipv4Addr>,
    ) -> Result<()> {
        let mut attributes = RtBuffer::new();
        attributes.push(attribute(Rta::Oif, interface)?);
        if let Some(destination) = destination {
            attributes.push(attribute(Rta::Dst, destination.octets())?);
        }
        if let Some(router) = router {
            attributes.push(attribute(Rta::Gateway, router.octets())?);
        }
        let message = RtmsgBuilder::default()
            .rtm_family(RtAddrFamily::Inet)
            .rtm_dst_len(if destination.is_some() { 32 } else { 0 })
            .rtm_src_len(0)
            .rtm_tos(0)
            .rtm_table(RtTable::Main)
            .rtm_protocol(Rtprot::Boot)
            .rtm_scope(if router.is_some() {
                RtScope::Universe
            } else {
                RtScope::Link
            })
            .rtm_type(Rtn::Unicast)
            .rtattrs(attributes);
        let flags = NlmF::CREATE | NlmF::REPLACE;
        self.request(Rtm::Newroute, flags, message.build()?)
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
