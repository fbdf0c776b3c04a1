//! What a server has given, with defaults for what it left out.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::domains;
use crate::message::{Answer, code};
use crate::routes::{Route, classless};

/// A lease whose length the server does not say.
const USUAL: Duration = Duration::from_hours(1);
const FOREVER: u32 = u32::MAX;
/// Shorter packets than every machine on the internet takes are a mistake of the server (RFC 791).
const LEAST_MTU: u16 = 576;
/// Longest list that is kept.
const MAX_SERVERS: usize = 8;
/// Ways to other networks. A server that gives some of them gives all that there are.
const ROUTES: [u8; 3] = [code::ROUTER, code::ROUTES, code::OLD_ROUTES];

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What the interface is set up with.
    pub configuration: Configuration,
    /// Who gave it.
    pub server: Ipv4Addr,
    /// `None`: it has no end.
    pub times: Option<Times>,
}

/// What an interface is set up with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Its address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix, 1 to 32.
    pub prefix: u8,
    /// The ways to other networks.
    pub routes: Vec<Route>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// Domains in which short names are looked for.
    pub search: Vec<String>,
    /// Time servers.
    pub ntp: Vec<Ipv4Addr>,
    /// The longest packet, bytes.
    pub mtu: Option<u16>,
}

impl Configuration {
    /// The router to all networks without a more special route.
    #[must_use]
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        let mut all = self.routes.iter().filter(|route| route.prefix == 0);
        all.find_map(|route| route.router)
    }
}

/// When something is due, from the moment when the lease was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When the server is asked for more time (T1).
    pub renew: Duration,
    /// When all servers are (T2).
    pub rebind: Duration,
    /// When the lease ends.
    pub end: Duration,
}

impl Answer {
    /// Takes what an ACK leaves out from the offer, or from the ACK of the lease that it extends.
    pub fn filled_from(mut self, earlier: &Self) -> Self {
        self.options.fill_from(&earlier.options, &ROUTES);
        self.address = self.address.or(earlier.address);
        self
    }
}

impl Lease {
    /// What an ACK gives.
    pub fn of(ack: &Answer) -> Option<Self> {
        let options = &ack.options;
        let address = ack.address?;
        let mask = options.long(code::MASK);
        let routes = [code::ROUTES, code::OLD_ROUTES]
            .map(|code| classless(options.bytes(code).unwrap_or_default()));
        let routes = match routes {
            [new, _] if !new.is_empty() => new,
            [_, old] if !old.is_empty() => old,
            // RFC 3442: the router counts only if the server gives no classless routes.
            _ => options
                .machines(code::ROUTER)
                .into_iter()
                .find(|router| *router != address)
                .map(Route::to_all_by)
                .into_iter()
                .collect(),
        };
        let servers = |code| {
            let mut servers = options.machines(code);
            servers.truncate(MAX_SERVERS);
            servers
        };
        let mut search = domains::search_list(options.bytes(code::SEARCH).unwrap_or_default());
        for domain in domains::words(options.bytes(code::DOMAIN).unwrap_or_default()) {
            if !search.contains(&domain) {
                search.push(domain);
            }
        }
        Some(Self {
            configuration: Configuration {
                address,
                prefix: mask
                    .and_then(prefix_of)
                    .unwrap_or_else(|| prefix_of_class(address)),
                routes,
                dns: servers(code::DNS),
                search,
                ntp: servers(code::NTP),
                mtu: options.short(code::MTU).filter(|mtu| *mtu >= LEAST_MTU),
            },
            server: ack.server,
            times: Times::of(
                options.long(code::LEASE_TIME),
                options.long(code::RENEW),
                options.long(code::REBIND),
            ),
        })
    }
}

impl Times {
    /// Times that are missing, zero or in the wrong order are replaced by the times of RFC 2131: a half and seven eighths of
    /// the lease.
    fn of(lease: Option<u32>, renew: Option<u32>, rebind: Option<u32>) -> Option<Self> {
        let end = match lease {
            Some(FOREVER) => return None,
            None | Some(0) => USUAL,
            Some(seconds) => Duration::from_secs(seconds.into()),
        };
        let seconds = |time: Option<u32>| time.map(|seconds| Duration::from_secs(seconds.into()));
        let is_between = |time: &Duration, end: Duration| !time.is_zero() && *time < end;
        let usual = Self {
            renew: end / 2,
            rebind: end * 7 / 8,
            end,
        };
        let rebind = seconds(rebind)
            .filter(|time| is_between(time, end))
            .unwrap_or(usual.rebind);
        let renew = seconds(renew)
            .filter(|time| is_between(time, rebind))
            .unwrap_or(usual.renew);
        Some(if renew < rebind {
            Self { renew, rebind, end }
        } else {
            usual
        })
    }
}

/// The prefix of a mask. A mask with gaps, or an empty one, has none.
fn prefix_of(mask: u32) -> Option<u8> {
    let ones = mask.leading_ones();
    let is_whole = ones + mask.trailing_zeros() == 32 || mask == u32::MAX;
    u8::try_from(ones).ok().filter(|_| is_whole && ones > 0)
}

/// The prefix that the address's class had.
fn prefix_of_class(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Kind;
    use crate::options::Options;

    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

    fn answer(kind: Kind, options: &[(u8, &[u8])]) -> Answer {
        let bytes: Vec<u8> = options
            .iter()
            .flat_map(|(code, value)| {
                let length = u8::try_from(value.len()).expect("short");
                [&[*code, length][..], value].concat()
            })
            .collect();
        Answer {
            kind,
            transaction: 1,
            mac: [2; 6],
            address: Some(ADDRESS),
            server: SERVER,
            is_named: true,
            is_relayed: false,
            options: Options::parse(&bytes, &[], &[]),
        }
    }

    fn lease(options: &[(u8, &[u8])]) -> Lease {
        Lease::of(&answer(Kind::Ack, options)).expect("a lease")
    }

    fn times(lease: u32, renew: u32, rebind: u32) -> (u64, u64, u64) {
        let times = Times::of(Some(lease), Some(renew), Some(rebind)).expect("it has an end");
        (
            times.renew.as_secs(),
            times.rebind.as_secs(),
            times.end.as_secs(),
        )
    }

    #[test]
    fn times_that_are_missing_or_contradict_each_other_are_the_standard_s() {
        let usual = Times::of(None, None, None).expect("it has an end");
        assert_eq!(usual.end, USUAL);
        assert_eq!(Times::of(Some(0), None, None), Some(usual));
        assert_eq!(Times::of(Some(FOREVER), Some(10), Some(20)), None);
        assert_eq!(times(800, 100, 200), (100, 200, 800));
        assert_eq!(times(800, 0, 0), (400, 700, 800));
        assert_eq!(
            times(800, 900, 200),
            (400, 700, 800),
            "T1 of a lease with an early T2"
        );
        assert_eq!(times(800, 300, 200), (400, 700, 800));
        assert_eq!(times(800, 300, 900), (300, 700, 800));
        assert_eq!(times(800, 750, 900), (400, 700, 800));
        assert_eq!(times(u32::MAX - 1, 0, 0).2, u64::from(u32::MAX) - 1);
    }

    #[test]
    fn a_mask_that_is_missing_or_has_gaps_is_the_mask_of_the_class() {
        assert_eq!(lease(&[]).configuration.prefix, 24);
        let prefix = |mask: [u8; 4]| lease(&[(code::MASK, &mask)]).configuration.prefix;
        assert_eq!(prefix([255, 255, 252, 0]), 22);
        assert_eq!(prefix([255, 255, 255, 255]), 32);
        assert_eq!(prefix([255, 0, 255, 0]), 24);
        assert_eq!(prefix([0; 4]), 24);
        assert_eq!(prefix_of_class(Ipv4Addr::new(10, 1, 1, 1)), 8);
        assert_eq!(prefix_of_class(Ipv4Addr::new(172, 16, 1, 1)), 16);
    }

    #[test]
    fn classless_routes_count_instead_of_the_router_if_any_can_be_read() {
        let router = (code::ROUTER, &[192, 0, 2, 1][..]);
        let by = |options: &[(u8, &[u8])]| lease(options).configuration;
        assert_eq!(by(&[router]).gateway(), Some(SERVER));
        let only_one = (code::ROUTES, &[16, 10, 20, 192, 0, 2, 2][..]);
        let taken = by(&[router, only_one]);
        assert_eq!(taken.gateway(), None);
        assert_eq!(taken.routes.len(), 1);
        let old = (code::OLD_ROUTES, &[0, 192, 0, 2, 3][..]);
        assert_eq!(
            by(&[router, old]).gateway(),
            Some(Ipv4Addr::new(192, 0, 2, 3))
        );
        assert_eq!(
            by(&[router, only_one, old]).gateway(),
            None,
            "121 comes first"
        );
        let broken = (code::ROUTES, &[99, 1, 2][..]);
        assert_eq!(by(&[router, broken]).gateway(), Some(SERVER));
        let itself = (code::ROUTER, &[192, 0, 2, 7][..]);
        assert_eq!(by(&[itself]).gateway(), None, "nobody is its own router");
    }

    #[test]
    fn what_an_ack_leaves_out_counts_as_before() {
        let offer = answer(
            Kind::Offer,
            &[(code::DNS, &[192, 0, 2, 9]), (code::MTU, &[5, 120])],
        );
        let mut ack = answer(Kind::Ack, &[(code::DNS, &[192, 0, 2, 8])]);
        ack.address = None;
        assert_eq!(Lease::of(&ack), None, "it has no address");
        let lease = Lease::of(&ack.filled_from(&offer)).expect("a lease");
        let given = lease.configuration;
        assert_eq!(given.address, ADDRESS);
        assert_eq!(given.dns, [Ipv4Addr::new(192, 0, 2, 8)]);
        assert_eq!(given.mtu, Some(1400));
    }

    #[test]
    fn an_ack_with_routes_takes_none_from_the_offer() {
        let route = (code::ROUTES, &[16, 10, 20, 192, 0, 2, 2][..]);
        let offer = answer(Kind::Offer, &[route]);
        let routes = |options: &[(u8, &[u8])]| {
            let ack = answer(Kind::Ack, options).filled_from(&offer);
            Lease::of(&ack).expect("a lease").configuration.routes
        };
        let by_router = [Route::to_all_by(SERVER)];
        assert_eq!(routes(&[(code::ROUTER, &[192, 0, 2, 1])]), by_router);
        let old = (code::OLD_ROUTES, &[0, 192, 0, 2, 1][..]);
        assert_eq!(routes(&[old]), by_router);
        assert_eq!(routes(&[]).len(), 1, "it has no routes");
        assert_ne!(routes(&[]), by_router);
    }

    #[test]
    fn the_search_list_comes_before_the_domain_and_a_tiny_mtu_is_a_mistake() {
        let search = (code::SEARCH, &b"\x03lab\x00\x03lan\x00"[..]);
        let lease = lease(&[(code::DOMAIN, b"lan"), search, (code::MTU, &[0, 68])]);
        assert_eq!(lease.configuration.search, ["lab", "lan"]);
        assert_eq!(lease.configuration.mtu, None);
    }
}
