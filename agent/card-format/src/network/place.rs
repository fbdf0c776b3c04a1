//! Which addresses a machine can have in a network. A router may be outside of the node's network: some sites have it so.

use std::net::Ipv4Addr;

use gild_format::network::Static;

/// The longest prefix of a network that has an address for itself and one for all its machines. One with two machines has neither
/// (RFC 3021).
const LONGEST_WITH_BOTH: u8 = 30;

/// Why no machine of this network, or beyond it, can have this address.
pub fn problem(network: &Static, address: Ipv4Addr) -> Option<&'static str> {
    if address.is_loopback() {
        return Some("it leads each machine to itself");
    }
    if address.is_multicast() || address.is_broadcast() {
        return Some("it is not a machine's own address: it stands for many");
    }
    if network.prefix > LONGEST_WITH_BOTH || !network.has(address) {
        return None;
    }
    let of_machine = u32::from(address) & !network.mask();
    if of_machine == 0 {
        return Some("it is the address of the network itself, and not of a machine in it");
    }
    (of_machine == !network.mask())
        .then_some("it is the broadcast address of the network, and not of a machine in it")
}
