//! Which addresses count as one client.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The part of an IPv6 address that counts. Anyone who has one address of a network can use all its others.
const PREFIX: u128 = !0 << 64;

/// An IPv4 address, or an IPv6 network of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The source with this address, which may be on this machine.
    pub fn whoever(address: SocketAddr) -> Self {
        Self::of(address).unwrap_or_else(|| Self(address.ip().to_canonical()))
    }

    /// The source with this address. `None` for this machine, whose programs are not counted.
    pub fn of(address: SocketAddr) -> Option<Self> {
        match address.ip().to_canonical() {
            ip if ip.is_loopback() => None,
            // All link-local neighbours have the same prefix, so there the whole address counts.
            IpAddr::V6(ip) if !ip.is_unicast_link_local() => {
                let network = Ipv6Addr::from_bits(ip.to_bits() & PREFIX);
                Some(Self(network.into()))
            }
            ip => Some(Self(ip)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_source_and_this_machine_is_none() {
        let of = |ip: &str| Source::of(SocketAddr::new(ip.parse().expect("an address"), 1));
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::"));
        assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
        assert_ne!(of("fe80::1"), of("fe80::2"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        for own in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(of(own), None, "{own}");
        }
    }
}
