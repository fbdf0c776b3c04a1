//! Keeps the lease of the interface in use while the story continues. It never shows that the work is alive: a board whose disk hangs must
//! be reset, however well its lease is renewed.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use gild_dhcp::{Configuration, Event, Loss, News};
use gild_identity::Interface;
use log::{info, warn};

use super::{NetworkError, setup};
use crate::dhcp::{self, Client, Stop};
use crate::netlink::Netlink;

/// Keeps a lease.
#[derive(Clone, Debug)]
pub struct Keeper {
    standing: Arc<Mutex<Standing>>,
    stop: Stop,
}

/// What the interface has.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// The lease's address.
    Kept(Configuration),
    /// It has no address, because the lease is over.
    Lost,
    /// It has no address, because it was given up.
    GivenUp,
}

impl Keeper {
    /// Keeps the lease of a client. The interface is set up with it.
    pub fn start(client: Client, interface: Interface, configuration: Configuration) -> Self {
        let keeper = Self {
            standing: Arc::new(Mutex::new(Standing::Kept(configuration))),
            stop: client.stop(),
        };
        let keeping = keeper.clone();
        thread::spawn(move || {
            // Some leases are renewed every few seconds, so only the first renewal is logged.
            let mut is_first = true;
            while let Ok(news) = client.next_news() {
                match news {
                    News::Event(event) => {
                        if let (Event::Renewed(lease), true) = (&event, is_first) {
                            info!(
                                "the lease of {} on {} is extended by {}",
                                lease.configuration.address, interface.name, lease.server
                            );
                            is_first = false;
                        }
                        keeping.note(&interface, event);
                    }
                    News::Mute(error) => dhcp::report_mute(&interface, &error),
                    News::Asks => dhcp::report_asking(&interface),
                }
            }
        });
        keeper
    }

    /// Whether the address was removed because it was no longer the node's.
    pub fn is_lost(&self) -> bool {
        *self.lock() == Standing::Lost
    }

    /// Ends the keeper and removes the address.
    pub fn give_up(&self, netlink: &Netlink, interface: &Interface) {
        self.stop.stop();
        // From here on, news from the client changes nothing.
        let before = std::mem::replace(&mut *self.lock(), Standing::GivenUp);
        if let Standing::Kept(configuration) = before {
            setup::end(netlink, interface, &configuration);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, interface: &Interface, event: Event) {
        let mut standing = self.lock();
        let Standing::Kept(present) = &mut *standing else {
            return;
        };
        let name = &interface.name;
        match event {
            Event::Renewed(lease) => {
                if let Err(error) = renewed(interface, present, lease.configuration) {
                    warn!("what the DHCP server gives {name} now cannot be set up: {error}");
                }
            }
            Event::Lost(loss) => {
                let address = present.address;
                warn!(
                    "the address {address} of {name} is lost and taken off: {}",
                    why(loss)
                );
                match setup::open() {
                    Ok(netlink) => setup::end(&netlink, interface, present),
                    Err(error) => warn!("{error}"),
                }
                *standing = Standing::Lost;
                self.stop.stop();
            }
            // The client gets another lease only after it has lost the present one.
            Event::Bound(_) | Event::Refused(_) => (),
        }
    }
}

/// Applies what has changed. Another MTU has to wait until the network is set up again, because the link may have to go down for it.
fn renewed(
    interface: &Interface,
    present: &mut Configuration,
    configuration: Configuration,
) -> Result<(), NetworkError> {
    if configuration == *present {
        return Ok(());
    }
    let netlink = setup::open()?;
    setup::change(&netlink, interface, present, &configuration)?;
    *present = configuration;
    Ok(())
}

fn why(loss: Loss) -> String {
    match loss {
        Loss::Refused(server) => {
            format!("the DHCP server {server} refused to extend its lease (NAK)")
        }
        Loss::Moved(server) => format!("the DHCP server {server} gives this board another one now"),
        Loss::Expired => "its lease is over, and no DHCP server has extended it".to_owned(),
    }
}

#[cfg(test)]
mod tests;
