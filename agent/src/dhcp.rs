//! DHCP: an address for one interface.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use gild_format::network::Static;
use gild_identity::Interface;
use mozim::{DhcpError, DhcpV4Client, DhcpV4Config, DhcpV4Lease, DhcpV4State};

/// What a server has given.
pub struct Lease {
    /// The address and what belongs to it.
    pub address: Static,
    /// Who may know the time.
    pub time_servers: Vec<Ipv4Addr>,
    /// When it is half over.
    pub renew: Option<Instant>,
}

impl Lease {
    fn of(lease: &DhcpV4Lease) -> Self {
        // RFC 3442: where classless routes are given, the router option does not count.
        let gateway = match &lease.classless_routes {
            Some(routes) => routes
                .iter()
                .find(|route| route.prefix_length == 0)
                .map(|route| route.router),
            None => lease.gateways.iter().flatten().next().copied(),
        };
        let address = Static {
            address: lease.yiaddr,
            prefix: u8::try_from(u32::from(lease.subnet_mask).leading_ones()).unwrap_or(32),
            gateway,
            dns: lease.dns_srvs.clone().unwrap_or_default(),
        };
        Self {
            address,
            time_servers: lease.ntp_srvs.clone().unwrap_or_default(),
            renew: Instant::now().checked_add(Duration::from_secs(lease.t1_sec.into())),
        }
    }
}

/// Asks until there is a lease.
pub async fn lease(interface: &Interface) -> Result<Lease, DhcpError> {
    let mut config = DhcpV4Config::new(&interface.name);
    if let Some(mac) = interface.mac() {
        config
            .set_iface_index(interface.index)
            .set_iface_mac_raw(&mac.0)?
            .use_mac_as_client_id();
    }
    let mut client = DhcpV4Client::init(config, None).await?;
    loop {
        if let DhcpV4State::Done(lease) = client.run().await? {
            return Ok(Lease::of(&lease));
        }
    }
}
