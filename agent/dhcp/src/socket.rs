//! The two ways to a server: our own frames until the interface has an address, and UDP afterwards.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::{BindToDevice, Broadcast, ReuseAddr};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, bind, recv, send,
    setsockopt, socket,
};

use crate::frame::{self, CLIENT, SERVER};
use crate::message::Mac;

const FLAGS: SockFlag = SockFlag::SOCK_CLOEXEC.union(SockFlag::SOCK_NONBLOCK);
/// The longest packet of an interface with large frames.
const LONGEST: usize = 9216;

/// All packets of an interface. It is open only while an answer may come, because it sees the packets of the image too.
pub struct Frames(OwnedFd);

impl Frames {
    pub fn open(interface: &str) -> io::Result<Self> {
        // The kernel's own description of the interface is the address that a packet socket is bound to.
        let address = getifaddrs()?
            .filter(|entry| entry.interface_name == interface)
            .find_map(|entry| entry.address?.as_link_addr().copied())
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    "the kernel does not know this interface; next: check its name with ip link",
                )
            })?;
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            FLAGS,
            SockProtocol::EthIp,
        )?;
        bind(socket.as_raw_fd(), &address)?;
        Ok(Self(socket))
    }

    /// Sends to all servers.
    pub fn send(&self, from: Mac, message: &[u8]) -> io::Result<()> {
        let frame = frame::to_all(from, message).ok_or(io::ErrorKind::InvalidInput)?;
        send(self.0.as_raw_fd(), &frame, MsgFlags::empty())?;
        Ok(())
    }

    /// The next message to a client that comes within this time, and who sent it.
    pub fn receive(&self, time: Duration) -> Option<(Vec<u8>, Ipv4Addr)> {
        if !is_readable(&self.0, time) {
            return None;
        }
        let mut frame = [0; LONGEST];
        let length = recv(self.0.as_raw_fd(), &mut frame, MsgFlags::empty()).ok()?;
        let (message, source) = frame::payload(&frame[..length])?;
        Some((message.to_vec(), source))
    }
}

/// The client's port on an interface that has its address.
pub struct Port(UdpSocket);

impl Port {
    pub fn open(interface: &str) -> io::Result<Self> {
        let socket = socket(AddressFamily::Inet, SockType::Datagram, FLAGS, None)?;
        setsockopt(&socket, BindToDevice, &OsString::from(interface))?;
        setsockopt(&socket, ReuseAddr, &true)?;
        setsockopt(&socket, Broadcast, &true)?;
        bind(socket.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, CLIENT))?;
        Ok(Self(socket.into()))
    }

    /// Sends to a server, or to all.
    pub fn send(&self, to: Ipv4Addr, message: &[u8]) -> io::Result<()> {
        self.0.send_to(message, (to, SERVER))?;
        Ok(())
    }

    /// The next message that comes within this time, and who sent it.
    pub fn receive(&self, time: Duration) -> Option<(Vec<u8>, Ipv4Addr)> {
        if !is_readable(&self.0, time) {
            return None;
        }
        let mut message = [0; LONGEST];
        match self.0.recv_from(&mut message) {
            Ok((length, SocketAddr::V4(source))) => {
                Some((message[..length].to_vec(), *source.ip()))
            }
            _ => None,
        }
    }
}

fn is_readable(socket: &impl AsFd, time: Duration) -> bool {
    let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
    let mut sockets = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    poll(&mut sockets, timeout).is_ok_and(|ready| ready > 0)
}
