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

/// What a client at work says.
#[derive(Debug)]
pub enum News {
    /// Something has happened.
    Event(Event),
    /// It cannot ask, because it gets no socket. It says so once, and tries again with each request that is due.
    Mute(io::Error),
    /// It can ask again.
    Asks,
}

/// Keeps an interface supplied with an address, until it is stopped. It changes nothing on the interface: the listener
/// does so, and the client waits for it.
///
/// A message that cannot be sent is sent again later, as if it had been lost on the way: the cable may be out.
pub fn run(interface: &str, mac: Mac, stop: &AtomicBool, mut listener: impl FnMut(News)) {
    let start = Instant::now();
    // Boards that start at the same moment must not keep step: this is the kernel's randomness.
    let seed = RandomState::new().hash_one(mac);
    let mut client = Client::new(mac, seed, start.elapsed());
    let mut sockets = Sockets::default();
    let mut is_mute = false;
    let mut actions = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for action in actions {
            match action {
                Action::Report(event) => listener(News::Event(event)),
                Action::Send(to, message) => match sockets.send(interface, mac, to, &message) {
                    Ok(()) if is_mute => {
                        is_mute = false;
                        listener(News::Asks);
                    }
                    Err(error) if !is_mute => {
                        is_mute = true;
                        listener(News::Mute(error));
                    }
                    Ok(()) | Err(_) => (),
                },
            }
        }
        if client.has_lease() {
            sockets.frames = None;
        }
        if !(client.has_lease() && client.is_waiting()) {
            sockets.port = None;
        }
        let rest = client
            .next()
            .map_or(LOOK, |next| next.saturating_sub(start.elapsed()).min(LOOK));
        let received = sockets.receive(rest);
        let now = start.elapsed();
        actions = match received {
            Some((message, source)) => client.receive(now, &message, source),
            None => client.act(now),
        };
    }
}

/// The sockets that are open.
#[derive(Default)]
struct Sockets {
    frames: Option<Frames>,
    port: Option<Port>,
}

impl Sockets {
    /// Sends a request. It fails where it gets no socket.
    fn send(&mut self, interface: &str, mac: Mac, to: To, message: &[u8]) -> io::Result<()> {
        let server = match to {
            To::AllWithoutAddress => {
                let frames = open(&mut self.frames, || Frames::open(interface))?;
                let _ = frames.send(mac, message);
                return Ok(());
            }
            To::All => Ipv4Addr::BROADCAST,
            To::Server(server) => server,
        };
        let port = open(&mut self.port, || Port::open(interface))?;
        let _ = port.send(server, message);
        Ok(())
    }

    /// The next message that comes within this time, and who sent it.
    fn receive(&self, time: Duration) -> Option<(Vec<u8>, Ipv4Addr)> {
        match (&self.frames, &self.port) {
            (Some(frames), _) => frames.receive(time),
            (None, Some(port)) => port.receive(time),
            (None, None) => {
                thread::sleep(time);
                None
            }
        }
    }
}

/// The socket that is open, or else a new one.
fn open<T>(socket: &mut Option<T>, new: impl FnOnce() -> io::Result<T>) -> io::Result<&T> {
    Ok(match socket {
        Some(socket) => socket,
        none => none.insert(new()?),
    })
}
