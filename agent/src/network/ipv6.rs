//! IPv6: the kernel itself takes addresses and the default route from routers' announcements (SLAAC). This module notices when it has.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, ToSocketAddrs};
use std::path::Path;

use gild_identity::Interface;

const ADDRESSES: &str = "proc/net/if_inet6";
/// Scopes that end at the machine and at the link.
const HOST: u32 = 0x10;
const LINK: u32 = 0x20;
/// Flags of an address that cannot be used. `IFA_F_TENTATIVE`: another machine may have it. `IFA_F_DADFAILED`: another machine has it.
const UNUSABLE: u32 = 0x40 | 0x08;

/// Whether a server with this address, or of this name, is reached by IPv6 only.
pub fn is_only_way_to(host: &str) -> bool {
    host.parse::<Ipv6Addr>().is_ok()
        || (host, 0).to_socket_addrs().is_ok_and(|addresses| {
            let addresses: Vec<IpAddr> = addresses.map(|address| address.ip()).collect();
            !addresses.is_empty() && addresses.iter().all(IpAddr::is_ipv6)
        })
}

/// Whether an interface has an address that reaches beyond its link and that it may use.
pub fn is_up(root: &Path, interface: &Interface) -> bool {
    let table = fs::read_to_string(root.join(ADDRESSES)).unwrap_or_default();
    table
        .lines()
        .any(|line| is_usable(line, &interface.name).unwrap_or(false))
}

/// A line of the kernel's table: address, number of the interface, length of the prefix, scope, flags, name.
fn is_usable(line: &str, interface: &str) -> Option<bool> {
    let mut words = line.split_whitespace().skip(3);
    let mut number = || u32::from_str_radix(words.next()?, 16).ok();
    let (scope, flags) = (number()?, number()?);
    let is_own = words.next()? == interface;
    Some(is_own && scope != HOST && scope != LINK && flags & UNUSABLE == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_when_it_reaches_beyond_the_link_and_is_nobody_else_s() {
        let line = |rest: &str| {
            let line = format!("20010db8000000000000000000000001 02 40 {rest}");
            is_usable(&line, "eth0")
        };
        assert_eq!(line("00 00     eth0"), Some(true));
        assert_eq!(line("00 80     eth0"), Some(true));
        assert_eq!(line("00 40     eth0"), Some(false), "tentative");
        assert_eq!(
            line("00 c8     eth0"),
            Some(false),
            "another machine has it"
        );
        assert_eq!(line("20 80     eth0"), Some(false), "link-local");
        assert_eq!(line("10 80       lo"), Some(false));
        assert_eq!(line("00 80     eth1"), Some(false));
        assert_eq!(line("zz 80     eth0"), None);
    }

    #[test]
    fn an_address_says_which_way_it_is_reached() {
        assert!(is_only_way_to("2001:db8::1"));
        assert!(!is_only_way_to("192.0.2.1"));
    }
}
