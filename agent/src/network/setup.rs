//! What an interface is set up with: longest packet, address, routes, name servers.

use std::error::Error;
use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use gild_dhcp::{Configuration, Route};
use gild_format::network::Static;
use gild_identity::Interface;
use log::warn;

use super::{NetworkError, kernel};
use crate::netlink::Netlink;
use crate::resolv_conf;

/// How long a link may take that was down for a moment.
const LINK: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(200);

/// A static address as a configuration.
pub fn of_static(fixed: &Static) -> Configuration {
    Configuration {
        address: fixed.address,
        prefix: fixed.prefix,
        routes: fixed.gateway.map(Route::to_all_by).into_iter().collect(),
        dns: fixed.dns.clone(),
        search: Vec::new(),
        ntp: Vec::new(),
        mtu: None,
    }
}

/// A connection to the kernel's routing tables.
pub fn open() -> Result<Netlink, NetworkError> {
    Netlink::open().map_err(kernel("opening a netlink socket"))
}

/// Sets up an interface that has nothing yet.
pub fn begin(
    netlink: &Netlink,
    interface: &Interface,
    configuration: &Configuration,
) -> Result<(), NetworkError> {
    if let Some(mtu) = configuration.mtu
        && interface.mtu() != Some(mtu.into())
        && let Err(error) = set_mtu(netlink, interface, mtu)
    {
        warn!(
            "{} does not take packets of {mtu} bytes, the MTU that the DHCP server gives: {error}",
            interface.name
        );
    }
    change(netlink, interface, configuration)
}

/// Gives an interface the address and what belongs to it, or another route or name server besides the address it has.
pub fn change(
    netlink: &Netlink,
    interface: &Interface,
    configuration: &Configuration,
) -> Result<(), NetworkError> {
    let Configuration {
        address, prefix, ..
    } = configuration;
    netlink
        .add_address(interface.index, *address, *prefix)
        .map_err(kernel(format!(
            "giving {} the address {address}/{prefix}",
            interface.name
        )))?;
    for route in in_order(configuration) {
        // One odd route must not cost the board its address.
        if let Err(error) = netlink.add_route(interface.index, &route) {
            let Route {
                network,
                prefix,
                router,
            } = route;
            let router = router.unwrap_or(Ipv4Addr::UNSPECIFIED);
            warn!("the route to {network}/{prefix} by {router} cannot be set: {error}");
        }
    }
    resolv_conf::write(&configuration.dns, &configuration.search)
        .map_err(kernel("writing /etc/resolv.conf"))
}

/// Routes that the kernel takes one after the other. It takes a router only if there is a way to it, and some networks hand
/// out a /32 and a router outside it.
fn in_order(configuration: &Configuration) -> Vec<Route> {
    let (on_link, by_router): (Vec<Route>, Vec<Route>) = configuration
        .routes
        .iter()
        .partition(|route| route.router.is_none());
    let own = Route::on_link(configuration.address, configuration.prefix);
    let mut ordered = on_link;
    for route in &by_router {
        let router = route.router.into_iter();
        let is_near = |near: &Route| router.clone().any(|router| near.leads_to(router));
        if !is_near(&own)
            && !ordered
                .iter()
                .any(|near| near.router.is_none() && is_near(near))
        {
            ordered.extend(route.router.map(|router| Route::on_link(router, 32)));
        }
    }
    ordered.extend(by_router);
    ordered
}

/// Sets the longest packet. Some drivers take one only while the link is down, that of the Raspberry Pi 5 (macb) among them.
fn set_mtu(netlink: &Netlink, interface: &Interface, mtu: u16) -> Result<(), Box<dyn Error>> {
    let index = interface.index;
    if netlink.set_mtu(index, mtu).is_ok() {
        return Ok(());
    }
    netlink.take_down(index)?;
    let set = netlink.set_mtu(index, mtu);
    netlink.bring_up(index, None)?;
    let deadline = Instant::now() + LINK;
    while !interface.has_carrier() && Instant::now() < deadline {
        thread::sleep(LOOK);
    }
    set
}

/// Takes the address from an interface.
pub fn end(netlink: &Netlink, interface: &Interface, configuration: &Configuration) {
    let Configuration {
        address, prefix, ..
    } = configuration;
    if let Err(error) = netlink.remove_address(interface.index, *address, *prefix) {
        warn!(
            "cannot remove the address {address} from {}: {error}",
            interface.name
        );
    }
}

/// The wired interfaces that there are.
pub fn wired() -> Vec<Interface> {
    Interface::wired(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(prefix: u8, routes: Vec<Route>) -> Configuration {
        Configuration {
            address: Ipv4Addr::new(192, 0, 2, 7),
            prefix,
            routes,
            dns: Vec::new(),
            search: Vec::new(),
            ntp: Vec::new(),
            mtu: None,
        }
    }

    #[test]
    fn a_router_that_is_not_near_gets_a_route_of_its_own_first() {
        let near = Route::to_all_by(Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(in_order(&configuration(24, vec![near])), [near]);
        let own = Route::on_link(Ipv4Addr::new(192, 0, 2, 1), 32);
        assert_eq!(in_order(&configuration(32, vec![near])), [own, near]);
        let link = Route::on_link(Ipv4Addr::new(192, 0, 2, 0), 28);
        assert_eq!(in_order(&configuration(32, vec![near, link])), [link, near]);
    }
}
