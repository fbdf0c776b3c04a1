//! Sends the lines of the console to a log server, in the form of RFC 5424 over UDP.
//!
//! A separate thread sends them. If a line cannot be sent it is lost, because nothing may wait for it. What matters is also on the card and
//! in the reports.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{ToSocketAddrs, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use gild_card_format::LogServer;

use crate::node::Node;

/// At most this many lines wait for a network. If there are more, the oldest are dropped.
const MOST: usize = 512;
/// The longest line that is sent, bytes: it fits one packet.
const LONGEST: usize = 1200;
/// Between two attempts to find the server.
const AGAIN: Duration = Duration::from_secs(10);
/// The pause between two lines, so that a slow server loses fewer of them.
const BETWEEN: Duration = Duration::from_millis(2);
/// The facility of system programs, times eight.
const DAEMON: u8 = 3 << 3;

/// Takes lines and never waits for the network. All clones share them.
#[derive(Clone, Default)]
pub struct Syslog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    outbox: Mutex<Outbox>,
    changed: Condvar,
}

#[derive(Default)]
struct Outbox {
    lines: VecDeque<String>,
    to: Option<Destination>,
}

/// Where lines go, and whose they are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Destination {
    server: LogServer,
    host: String,
}

impl Syslog {
    /// Starts to send.
    pub fn start(&self) {
        let shared = Arc::clone(&self.0);
        thread::spawn(move || shared.send());
    }

    /// Takes lines of the console.
    pub fn note(&self, text: &str) {
        let mut outbox = self.0.outbox();
        for line in text.lines() {
            if outbox.lines.len() == MOST {
                outbox.lines.pop_front();
            }
            outbox.lines.push_back(line.to_owned());
        }
        drop(outbox);
        self.0.changed.notify_all();
    }

    /// What is known of the node by now. Nothing is sent before it has a network.
    pub fn knows(&self, node: &Node) {
        let server = node.log_server.clone();
        let server = server.filter(|_| node.network.is_some());
        self.0.outbox().to = server.map(|server| Destination {
            server,
            host: node.id(),
        });
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self) {
        let mut open: Option<(Destination, UdpSocket)> = None;
        loop {
            let (to, line) = self.next();
            let socket = match open.take() {
                Some((before, socket)) if before == to => Some(socket),
                _ => connected(&to.server),
            };
            match socket {
                Some(socket) => {
                    let message = message(&to.host, &line);
                    open = sent(socket, &to.server, message.as_bytes()).map(|socket| (to, socket));
                    thread::sleep(BETWEEN);
                }
                None => thread::sleep(AGAIN),
            }
        }
    }

    /// Waits for a line and for a server to send it to.
    fn next(&self) -> (Destination, String) {
        let mut outbox = self.outbox();
        loop {
            if let Some(to) = outbox.to.clone()
                && let Some(line) = outbox.lines.pop_front()
            {
                return (to, line);
            }
            let waited = self.changed.wait(outbox);
            outbox = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Sends a line. UDP does not say whether it arrived. The kernel keeps the address that the node had when the socket was connected, so a node
/// with another address needs another socket.
fn sent(socket: UdpSocket, server: &LogServer, message: &[u8]) -> Option<UdpSocket> {
    match socket.send(message) {
        // The server answered an earlier line that nobody listens.
        Err(error) if error.kind() != ErrorKind::ConnectionRefused => {
            let socket = connected(server)?;
            let _ = socket.send(message);
            Some(socket)
        }
        _ => Some(socket),
    }
}

fn connected(server: &LogServer) -> Option<UdpSocket> {
    let to = (server.host.as_str(), server.port).to_socket_addrs().ok()?;
    let connect = |to: std::net::SocketAddr| {
        let own = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(own).ok()?;
        socket.connect(to).ok()?;
        Some(socket)
    };
    to.into_iter().find_map(connect)
}

/// One message. It has no time, because the board may have no clock and the server has one.
fn message(host: &str, line: &str) -> String {
    let text = line.strip_prefix("gild: ").unwrap_or(line);
    let severity = if text.starts_with("FAULT ") {
        3
    } else if text.starts_with("warning: ") {
        4
    } else {
        6
    };
    let text = &text[..text.floor_char_boundary(LONGEST)];
    format!("<{}>1 - {host} gild - - - {text}", DAEMON + severity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_severity_and_whose_it_is() {
        for (line, expected) in [
            ("gild: stage disk", "<30>1 - d83a gild - - - stage disk"),
            ("gild: warning: x", "<28>1 - d83a gild - - - warning: x"),
            ("gild: FAULT 2: no", "<27>1 - d83a gild - - - FAULT 2: no"),
        ] {
            assert_eq!(message("d83a", line), expected);
        }
        let long = "ä".repeat(LONGEST);
        assert!(message("d83a", &long).len() < LONGEST + 40);
    }

    /// Such a socket has the address that the node had before.
    #[test]
    fn a_line_that_cannot_be_sent_goes_out_through_another_socket() {
        let log = UdpSocket::bind("127.0.0.1:0").expect("a server");
        let patience = Some(Duration::from_secs(30));
        log.set_read_timeout(patience).expect("a patience");
        let server = LogServer {
            host: "127.0.0.1".to_owned(),
            port: log.local_addr().expect("a port").port(),
        };
        let unusable = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        assert!(unusable.send(b"x").is_err());
        let usable = sent(unusable, &server, b"one").expect("another socket");
        sent(usable, &server, b"two").expect("the same");
        for expected in [b"one", b"two"] {
            let mut line = [0; 8];
            let length = log.recv(&mut line).expect("a line");
            assert_eq!(&line[..length], expected);
        }
    }

    #[test]
    fn lines_wait_for_a_network_the_oldest_are_lost_and_nobody_waits() {
        let syslog = Syslog::default();
        syslog.start();
        for number in 0..MOST + 7 {
            syslog.note(&format!("gild: line {number}\n"));
        }
        let server = UdpSocket::bind("127.0.0.1:0").expect("a server");
        let patience = Some(Duration::from_secs(30));
        server.set_read_timeout(patience).expect("a patience");
        let port = server.local_addr().expect("a port").port();
        syslog.0.outbox().to = Some(Destination {
            server: LogServer {
                host: "127.0.0.1".to_owned(),
                port,
            },
            host: "d83a".to_owned(),
        });
        syslog.0.changed.notify_all();
        let mut line = [0; 2048];
        let length = server.recv(&mut line).expect("a line");
        assert_eq!(&line[..length], b"<30>1 - d83a gild - - - line 7");
    }
}
