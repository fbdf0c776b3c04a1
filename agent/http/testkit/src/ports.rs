//! Ports for programs that listen themselves, and ports at which nobody listens.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports that the kernel chooses by itself (32768 to 60999, `ip_local_port_range`): no other program gets one of these by chance
/// before the one that it is for.
const FIRST: u16 = 10_000;
const COUNT: u32 = 22_000;

/// A TCP port that nobody listens at. A process never gets one twice.
///
/// # Errors
/// If no port can be taken, which is the error of the last one.
pub fn free_port() -> io::Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut last = io::ErrorKind::AddrInUse.into();
    for _ in 0..COUNT {
        // Processes that run beside each other have neighbouring numbers: they begin far from each other.
        let at = std::process::id() * 211 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + u16::try_from(at % COUNT).unwrap_or_default();
        match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}
