//! Classless routes: option 121 (RFC 3442), and 249, which is the same and older.

use std::net::Ipv4Addr;

use crate::options::is_machine;

/// A way to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network, without bits beyond its prefix.
    pub network: Ipv4Addr,
    /// Length of its prefix, bits. Zero: all networks that have no other route.
    pub prefix: u8,
    /// Who forwards. `None`: the network's machines are on the link.
    pub router: Option<Ipv4Addr>,
}

impl Route {
    /// The route to all networks.
    #[must_use]
    pub const fn to_all_by(router: Ipv4Addr) -> Self {
        Self {
            network: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
            router: Some(router),
        }
    }

    /// The route to a machine's network, which is on the link.
    #[must_use]
    pub fn on_link(machine: Ipv4Addr, prefix: u8) -> Self {
        Self {
            network: masked(machine, prefix),
            prefix,
            router: None,
        }
    }

    /// Whether it is the way to a machine.
    #[must_use]
    pub fn leads_to(&self, machine: Ipv4Addr) -> bool {
        masked(machine, self.prefix) == self.network
    }
}

/// The network of a machine.
pub fn masked(machine: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let mask = u32::MAX
        .checked_shl(32 - u32::from(prefix.min(32)))
        .unwrap_or(0);
    Ipv4Addr::from(machine.to_bits() & mask)
}

/// The routes of an option. An unreadable route ends the list, and the routes before it count.
pub fn classless(mut bytes: &[u8]) -> Vec<Route> {
    let mut routes = Vec::new();
    while let Some((route, rest)) = first(bytes) {
        routes.extend(route);
        bytes = rest;
    }
    routes
}

/// The first route of a list, unless its router is an address that no machine can have.
fn first(bytes: &[u8]) -> Option<(Option<Route>, &[u8])> {
    let (&prefix, rest) = bytes.split_first()?;
    if prefix > 32 {
        return None;
    }
    let (significant, rest) = rest.split_at_checked(usize::from(prefix).div_ceil(8))?;
    let (router, rest) = rest.split_first_chunk::<4>()?;
    let mut octets = [0; 4];
    octets[..significant.len()].copy_from_slice(significant);
    let router = Ipv4Addr::from(*router);
    let route = Route {
        network: masked(octets.into(), prefix),
        prefix,
        router: (!router.is_unspecified()).then_some(router),
    };
    Some((route.router.is_none_or(is_machine).then_some(route), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_and_a_router_of_zeros_means_the_link() {
        let bytes = [
            &[0, 192, 0, 2, 1][..],
            &[16, 10, 20, 192, 0, 2, 2],
            // Bits beyond the prefix, as careless servers send them.
            &[20, 10, 30, 77, 0, 0, 0, 0],
            &[8, 10, 255, 255, 255, 255],
            &[32, 198, 51, 100, 7, 192, 0, 2, 3],
            &[33, 1, 2, 3, 4, 5],
            &[0, 192, 0, 2, 9],
        ]
        .concat();
        let route = |network: [u8; 4], prefix, router: Option<[u8; 4]>| Route {
            network: network.into(),
            prefix,
            router: router.map(Ipv4Addr::from),
        };
        assert_eq!(
            classless(&bytes),
            [
                Route::to_all_by(Ipv4Addr::new(192, 0, 2, 1)),
                route([10, 20, 0, 0], 16, Some([192, 0, 2, 2])),
                route([10, 30, 64, 0], 20, None),
                route([198, 51, 100, 7], 32, Some([192, 0, 2, 3])),
            ],
            "no length beyond 32, and nothing after it"
        );
    }

    #[test]
    fn a_route_leads_to_the_machines_of_its_network() {
        let route = Route::on_link(Ipv4Addr::new(10, 20, 3, 4), 16);
        assert!(route.leads_to(Ipv4Addr::new(10, 20, 255, 1)));
        assert!(!route.leads_to(Ipv4Addr::new(10, 21, 0, 1)));
        assert!(Route::to_all_by(Ipv4Addr::LOCALHOST).leads_to(Ipv4Addr::new(9, 9, 9, 9)));
    }
}
