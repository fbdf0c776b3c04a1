//! The socket and the messages of the scripted server.

use std::ffi::OsString;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::BindToDevice;

use crate::lan::{Lan, PORT, SERVER};

const LOOK: Duration = Duration::from_millis(100);
const OPTIONS_AT: usize = 240;

/// What a client asks.
pub struct Request {
    bytes: Vec<u8>,
    pub kind: u8,
    /// The server that it names.
    pub server: Option<Ipv4Addr>,
    /// The address that it has and wants for longer.
    pub extends: Option<Ipv4Addr>,
    pub wants_broadcast: bool,
    /// Whether it was sent to all.
    pub was_for_all: bool,
}

impl Request {
    fn parse(bytes: &[u8], was_for_all: bool) -> Self {
        let address = |octets: &[u8]| {
            let octets: [u8; 4] = octets.try_into().expect("four bytes");
            Some(Ipv4Addr::from(octets)).filter(|address| !address.is_unspecified())
        };
        let (mut kind, mut server) = (0, None);
        let mut options = &bytes[OPTIONS_AT..];
        while let [code, length, rest @ ..] = options
            && *code != 255
        {
            let (value, rest) = rest.split_at((*length).into());
            match code {
                53 => kind = value[0],
                54 => server = address(value),
                _ => (),
            }
            options = rest;
        }
        Self {
            kind,
            server,
            extends: address(&bytes[12..16]),
            wants_broadcast: bytes[10] & 0x80 != 0,
            was_for_all,
            bytes: bytes.to_vec(),
        }
    }
}

/// How an answer is sent.
#[derive(Clone, Copy)]
pub enum Way {
    ToAll,
    To(Ipv4Addr),
}

/// An answer.
pub struct Answer {
    bytes: Vec<u8>,
    delay: Duration,
    way: Way,
    has_end: bool,
}

impl Answer {
    /// A message without an address. Its only options are its kind and, if there is one, its server.
    pub fn new(request: &Request, kind: u8, server: Option<Ipv4Addr>) -> Self {
        let mut bytes = request.bytes[..OPTIONS_AT].to_vec();
        bytes[0] = 2;
        let answer = Self {
            bytes,
            delay: Duration::ZERO,
            way: request.extends.map_or(Way::ToAll, Way::To),
            has_end: true,
        };
        let answer = answer.with(&[(53, &[kind])]);
        match server {
            Some(server) => answer.with(&[(54, &server.octets())]),
            None => answer,
        }
    }

    pub fn giving(mut self, address: Ipv4Addr) -> Self {
        self.put(16, &address.octets());
        self
    }

    pub fn with(mut self, options: &[(u8, &[u8])]) -> Self {
        for (code, value) in options {
            let length = u8::try_from(value.len()).expect("short");
            self.bytes.extend([*code, length]);
            self.bytes.extend(*value);
        }
        self
    }

    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    pub fn by(mut self, way: Way) -> Self {
        self.way = way;
        self
    }

    /// Writes bytes into one of the fields before the options.
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Has the options end in the middle of one.
    pub fn cut_end(&mut self) {
        self.bytes.extend([6, 200, 1]);
        self.has_end = false;
    }
}

/// A running script. It ends when this is dropped.
pub struct Script {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Script {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so, and the test fails without its answers.
            let _ = thread.join();
        }
    }
}

/// Answers what clients ask, as the script says.
pub fn serve(
    lan: &Lan,
    script: impl Fn(&Request) -> Vec<Answer> + Send + Sync + 'static,
) -> Script {
    let stop = Arc::new(AtomicBool::new(false));
    let script = Arc::new(script);
    // The port of all addresses hears what is for all, and the one of the server's address what is for it.
    let threads = [(Ipv4Addr::BROADCAST, true), (SERVER, false)].map(|(address, is_for_all)| {
        let socket = lan.server.run(move || socket(address));
        let (stop, script) = (stop.clone(), script.clone());
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let mut bytes = [0; 1500];
                if let Ok(length) = socket.recv(&mut bytes) {
                    let request = Request::parse(&bytes[..length], is_for_all);
                    for answer in script(&request) {
                        send(&socket, answer);
                    }
                }
            }
        })
    });
    Script {
        stop,
        threads: threads.into(),
    }
}

fn socket(address: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((address, 67)).expect("the port of servers");
    setsockopt(&socket.as_fd(), BindToDevice, &OsString::from(PORT)).expect("one interface");
    socket.set_broadcast(true).expect("answers to all");
    socket.set_read_timeout(Some(LOOK)).expect("a time-out");
    socket
}

fn send(socket: &UdpSocket, answer: Answer) {
    thread::sleep(answer.delay);
    let mut bytes = answer.bytes;
    if answer.has_end {
        bytes.push(255);
    }
    let to = match answer.way {
        Way::ToAll => Ipv4Addr::BROADCAST,
        Way::To(address) => address,
    };
    // A board that has just lost its address cannot be reached, and asks again.
    let _ = socket.send_to(&bytes, (to, 68));
}
