//! A client at work: the state machine with sockets and a clock.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Action, Client, Event, To};
use crate::message::Mac;
use crate::socket::{Frames, Port};

/// How often it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(200);

/// Keeps an interface supplied with an address, until it is stopped. It changes nothing on the interface: that is the
/// listener's part, before which the client does not go on.
///
/// What cannot be sent is sent again later, as if it had been lost on the way: the cable may be out.
pub fn run(
    interface: &str,
    mac: Mac,
    stop: &AtomicBool,
    mut listener: impl FnMut(Event),
) -> io::Result<()> {
    let start = Instant::now();
    // Boards that start at the same moment must not keep step: this is the kernel's randomness.
    let seed = RandomState::new().hash_one(mac);
    let mut client = Client::new(mac, seed, start.elapsed());
    let (mut frames, mut port) = (None, None);
    let mut actions = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for action in actions {
            match action {
                Action::Tell(event) => listener(event),
                Action::Send(to, message) => {
                    let server = match to {
                        To::AllWithoutAddress => {
                            let frames = match &mut frames {
                                Some(frames) => frames,
                                none => none.insert(Frames::open(interface)?),
                            };
                            let _ = frames.send(mac, &message);
                            continue;
                        }
                        To::All => Ipv4Addr::BROADCAST,
                        To::Server(server) => server,
                    };
                    port = port.or_else(|| Port::open(interface).ok());
                    if let Some(port) = &port {
                        let _ = port.send(server, &message);
                    }
                }
            }
        }
        if client.has_lease() {
            frames = None;
        }
        if !(client.has_lease() && client.is_waiting()) {
            port = None;
        }
        let rest = client
            .next()
            .map_or(LOOK, |next| next.saturating_sub(start.elapsed()).min(LOOK));
        let received = match (&frames, &port) {
            (Some(frames), _) => frames.receive(rest),
            (None, Some(port)) => port.receive(rest),
            (None, None) => {
                thread::sleep(rest);
                None
            }
        };
        let now = start.elapsed();
        actions = match received {
            Some((message, source)) => client.receive(now, &message, source),
            None => client.act(now),
        };
    }
    Ok(())
}
