//! DHCP's messages: the requests that are sent, and what is read of the answers.

use std::net::Ipv4Addr;

use crate::options::{Options, is_machine};

/// The address of an Ethernet interface.
pub type Mac = [u8; 6];

/// Option codes.
pub mod code {
    pub const MASK: u8 = 1;
    pub const ROUTER: u8 = 3;
    pub const DNS: u8 = 6;
    pub const DOMAIN: u8 = 15;
    pub const MTU: u8 = 26;
    pub const NTP: u8 = 42;
    pub const WANTED_ADDRESS: u8 = 50;
    pub const LEASE_TIME: u8 = 51;
    pub const KIND: u8 = 53;
    pub const SERVER: u8 = 54;
    pub const WANTED_OPTIONS: u8 = 55;
    pub const LONGEST_MESSAGE: u8 = 57;
    pub const RENEW: u8 = 58;
    pub const REBIND: u8 = 59;
    pub const CLIENT: u8 = 61;
    pub const SEARCH: u8 = 119;
    pub const ROUTES: u8 = 121;
    pub const OLD_ROUTES: u8 = 249;
}

/// RFC 3442: the routes come before the router.
const WANTED: [u8; 13] = [
    code::MASK,
    code::ROUTES,
    code::OLD_ROUTES,
    code::ROUTER,
    code::DNS,
    code::DOMAIN,
    code::SEARCH,
    code::MTU,
    code::NTP,
    code::LEASE_TIME,
    code::SERVER,
    code::RENEW,
    code::REBIND,
];

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const ETHERNET: u8 = 1;
const BROADCAST: [u8; 2] = [0x80, 0];
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const TRANSACTION_AT: usize = 4;
const YOURS_AT: usize = 16;
const NEXT_SERVER_AT: usize = 20;
const RELAY_AT: usize = 24;
const MAC_AT: usize = 28;
const SERVER_NAME_AT: usize = 44;
const FILE_AT: usize = 108;
const COOKIE_AT: usize = 236;
const OPTIONS_AT: usize = 240;
/// The shortest message of BOOTP: some servers and relays drop shorter ones.
const SHORTEST: usize = 300;
/// The longest that fits into a packet of Ethernet.
const LONGEST: u16 = 1472;

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Who has an address?
    Discover,
    /// This server's offer is taken.
    Take {
        /// The address that was offered.
        address: Ipv4Addr,
        /// Who offered it.
        server: Ipv4Addr,
    },
    /// The address in use is wanted for longer.
    Extend(Ipv4Addr),
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The client.
    pub mac: Mac,
    /// By which its answer is known.
    pub transaction: u32,
    /// For how long the client has been asking.
    pub seconds: u16,
    /// Whether the answer must be sent to all.
    pub broadcast: bool,
    /// What is asked.
    pub ask: Ask,
}

impl Request {
    /// The bytes of the message.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![0; OPTIONS_AT];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        let length = u8::try_from(self.mac.len()).unwrap_or_default();
        put(0, &[REQUEST, ETHERNET, length]);
        put(TRANSACTION_AT, &self.transaction.to_be_bytes());
        put(8, &self.seconds.to_be_bytes());
        if self.broadcast {
            put(10, &BROADCAST);
        }
        if let Ask::Extend(address) = self.ask {
            put(12, &address.octets());
        }
        put(MAC_AT, &self.mac);
        put(COOKIE_AT, &COOKIE);

        let mut option = |code: u8, value: &[u8]| {
            bytes.push(code);
            bytes.push(u8::try_from(value.len()).unwrap_or_default());
            bytes.extend(value);
        };
        let kind = match self.ask {
            Ask::Discover => 1,
            Ask::Take { .. } | Ask::Extend(_) => 3,
        };
        option(code::KIND, &[kind]);
        // The node's networkd names itself like this (`ClientIdentifier=mac`), so that a server gives both the same address.
        option(code::CLIENT, &[&[ETHERNET][..], &self.mac].concat());
        if let Ask::Take { address, server } = self.ask {
            option(code::WANTED_ADDRESS, &address.octets());
            option(code::SERVER, &server.octets());
        }
        option(code::LONGEST_MESSAGE, &LONGEST.to_be_bytes());
        option(code::WANTED_OPTIONS, &WANTED);
        bytes.push(255);
        bytes.resize(bytes.len().max(SHORTEST), 0);
        bytes
    }
}

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is an address.
    Offer,
    /// The address is the client's.
    Ack,
    /// It is not (NAK).
    Nak,
}

/// A server's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub kind: Kind,
    pub transaction: u32,
    pub mac: Mac,
    /// The client's address, if a machine can have it.
    pub address: Option<Ipv4Addr>,
    /// Who answers. If the option is missing, the sender of the packet.
    pub server: Ipv4Addr,
    /// Whether the server names itself. If not, a relay may have sent the packet.
    pub is_named: bool,
    /// Whether it came through a relay, by the relay's address in it.
    pub is_relayed: bool,
    pub options: Options,
}

impl Answer {
    /// Reads a message. `None`: it is not an answer of DHCP.
    pub fn parse(bytes: &[u8], source: Ipv4Addr) -> Option<Self> {
        if *bytes.first()? != REPLY || bytes.get(COOKIE_AT..OPTIONS_AT)? != COOKIE {
            return None;
        }
        let address = |at: usize| -> Option<Ipv4Addr> {
            let octets = *bytes.get(at..)?.first_chunk::<4>()?;
            Some(octets.into()).filter(|address| is_machine(*address))
        };
        let options = Options::parse(
            &bytes[OPTIONS_AT..],
            &bytes[FILE_AT..COOKIE_AT],
            &bytes[SERVER_NAME_AT..FILE_AT],
        );
        let kind = match options.byte(code::KIND)? {
            2 => Kind::Offer,
            5 => Kind::Ack,
            6 => Kind::Nak,
            _ => return None,
        };
        let named = options.machines(code::SERVER).first().copied();
        let sender = Some(source).filter(|source| is_machine(*source));
        Some(Self {
            kind,
            transaction: u32::from_be_bytes(*bytes[TRANSACTION_AT..].first_chunk()?),
            mac: *bytes[MAC_AT..].first_chunk()?,
            address: address(YOURS_AT),
            is_named: named.is_some(),
            is_relayed: address(RELAY_AT).is_some(),
            server: named
                .or(sender)
                .or_else(|| address(NEXT_SERVER_AT))
                .unwrap_or(Ipv4Addr::UNSPECIFIED),
            options,
        })
    }

    /// Whether the server that was asked refuses. A refusal without a server's name counts as its refusal if it sent the packet, or
    /// if a relay did, because a relay's address is not the server's. Other servers of the network refuse leases that they do not
    /// know.
    pub fn is_refusal_of(&self, asked: Ipv4Addr) -> bool {
        self.server == asked || !self.is_named && self.is_relayed
    }

    /// Whether it is the answer of the server that was asked. An answer without a server's name is: only the server that is asked
    /// answers, and if a relay has sent the packet, its address is not the server's.
    pub fn is_of(&self, asked: Ipv4Addr) -> bool {
        self.answerer(asked) == asked
    }

    /// Who answers where this server was asked.
    pub fn answerer(&self, asked: Ipv4Addr) -> Ipv4Addr {
        if self.is_named { self.server } else { asked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_who_asks_and_is_as_long_as_bootp_wants() {
        let mac = [0x2c, 0xcf, 0x67, 0, 0, 1];
        let ask = Ask::Take {
            address: Ipv4Addr::new(192, 0, 2, 7),
            server: Ipv4Addr::new(192, 0, 2, 1),
        };
        let bytes = Request {
            mac,
            transaction: 0x0102_0304,
            seconds: 5,
            broadcast: true,
            ask,
        }
        .to_bytes();
        assert_eq!(bytes.len(), SHORTEST);
        assert_eq!(bytes[..12], [1, 1, 6, 0, 1, 2, 3, 4, 0, 5, 0x80, 0]);
        assert_eq!(bytes[28..34], mac);
        let options = Options::parse(&bytes[OPTIONS_AT..], &[], &[]);
        assert_eq!(options.byte(code::KIND), Some(3));
        let id = [1, 0x2c, 0xcf, 0x67, 0, 0, 1];
        assert_eq!(options.bytes(code::CLIENT), Some(&id[..]));
        assert_eq!(
            options.bytes(code::WANTED_ADDRESS),
            Some(&[192, 0, 2, 7][..])
        );
        assert_eq!(options.bytes(code::SERVER), Some(&[192, 0, 2, 1][..]));
    }

    #[test]
    fn a_renewal_names_the_address_in_its_own_field_only() {
        let bytes = Request {
            mac: [2; 6],
            transaction: 1,
            seconds: 0,
            broadcast: false,
            ask: Ask::Extend(Ipv4Addr::new(192, 0, 2, 7)),
        }
        .to_bytes();
        assert_eq!(bytes[12..16], [192, 0, 2, 7]);
        let options = Options::parse(&bytes[OPTIONS_AT..], &[], &[]);
        assert_eq!(options.bytes(code::WANTED_ADDRESS), None);
        assert_eq!(options.bytes(code::SERVER), None);
    }
}
