//! How an interface is set up: longest packet, address, routes, name servers.

use std::error::Error;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use gild_dhcp::{Configuration, Route};
use gild_format::network::Static;
use gild_identity::Interface;
use log::warn;

use super::LOOK;
use super::error::{NetworkError, kernel};
use crate::netlink::Netlink;
use crate::resolv_conf;

/// How long a link may need after it was down for a moment.
const LINK: Duration = Duration::from_secs(10);
/// The longest packet of Ethernet, bytes.
const ETHERNET: u16 = 1500;

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

/// Sets up an interface that has nothing yet. If that fails, it has nothing again.
pub fn begin(
    netlink: &Netlink,
    interface: &Interface,
    configuration: &Configuration,
) -> Result<(), NetworkError> {
    longest_packet(netlink, interface, configuration.mtu);
    give_address(netlink, interface, configuration)?;
    give_rest(netlink, interface, configuration)
        .inspect_err(|_| end(netlink, interface, configuration))
}

/// Sets the MTU of a lease. If the lease has none, sets that of Ethernet, because an earlier lease may have set another.
pub fn longest_packet(netlink: &Netlink, interface: &Interface, given: Option<u16>) {
    let mtu = given.unwrap_or(ETHERNET);
    if interface.mtu() != Some(mtu.into())
        && let Err(error) = set_mtu(netlink, interface, mtu)
    {
        let name = &interface.name;
        match given {
            Some(_) => warn!(
                "{name} does not take packets of {mtu} bytes, the MTU that the DHCP server gives: {error}"
            ),
            None => warn!("{name} does not take packets of {mtu} bytes, Ethernet's MTU: {error}"),
        }
    }
}

/// Sets up what differs in a new lease of the same address. Routes of the old lease alone are removed.
pub fn change(
    netlink: &Netlink,
    interface: &Interface,
    former: &Configuration,
    configuration: &Configuration,
) -> Result<(), NetworkError> {
    let keeps_address = former.prefix == configuration.prefix;
    if !keeps_address {
        end(netlink, interface, former);
    }
    give_address(netlink, interface, configuration)?;
    let result = give_rest(netlink, interface, configuration);
    // Removing the address has already removed its routes.
    if keeps_address {
        for route in gone(former, configuration) {
            if let Err(error) = netlink.remove_route(interface.index, &route) {
                let Route {
                    network, prefix, ..
                } = route;
                warn!("the route to {network}/{prefix} cannot be removed: {error}");
            }
        }
    }
    result
}

fn give_address(
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
        )))
}

/// Sets up what belongs to an address.
fn give_rest(
    netlink: &Netlink,
    interface: &Interface,
    configuration: &Configuration,
) -> Result<(), NetworkError> {
    for route in in_order(configuration) {
        // A single bad route must not cost the board its address.
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

/// The routes that only the former lease has. A route to the same network has been replaced, and the route to the interface's own network
/// belongs to the address.
fn gone(former: &Configuration, present: &Configuration) -> Vec<Route> {
    let own = Route::on_link(present.address, present.prefix);
    let mut kept = in_order(present);
    kept.push(own);
    let is_kept = |route: &Route| {
        let key = (route.network, route.prefix);
        kept.iter().any(|kept| (kept.network, kept.prefix) == key)
    };
    let mut gone = in_order(former);
    gone.retain(|route| !is_kept(route));
    // Routes by a router come before the route to that router. The kernel needs the latter as long as the former exist.
    gone.reverse();
    gone
}

/// The routes in an order that the kernel accepts. It accepts a router only if there already is a route to it, and some networks hand out a
/// /32 address and a router outside it.
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

/// Sets the longest packet. Some drivers accept one only while the link is down, for example that of the Raspberry Pi 5 (macb).
fn set_mtu(netlink: &Netlink, interface: &Interface, mtu: u16) -> Result<(), Box<dyn Error>> {
    let index = interface.index;
    match netlink.set_mtu(index, mtu) {
        // The chip cannot do that in any state of the link.
        Err(error) if is_out_of_range(&*error) => return Err(error),
        Err(_) => (),
        Ok(()) => return Ok(()),
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

fn is_out_of_range(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::InvalidInput)
}

/// Removes the address of an interface, and the name servers too, because the next network may bring none.
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
    if let Err(error) = resolv_conf::write(&[], &[]) {
        warn!("the name servers that came with {address} cannot be removed: {error}");
    }
}

/// The wired interfaces that there are.
pub fn wired() -> Vec<Interface> {
    Interface::wired(Path::new("/"))
}

#[cfg(test)]
mod tests;
