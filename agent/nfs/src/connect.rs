//! TCP connections: from a privileged port where that is possible, and with a keep-alive.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use gild_source::{PROBE_AFTER, PROBE_EVERY, PROBES, UNACKNOWLEDGED};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// Many servers serve only callers with a port that takes root to open. These are the ones that
/// the Linux client uses: the lower ones belong to services.
pub const PRIVILEGED_PORTS: std::ops::RangeInclusive<u16> = 665..=1023;

/// Connects, from a privileged port where the system allows it.
pub fn connect(server: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let socket = if let Some(socket) = connect_from_privileged_port(server, timeout)? {
        socket
    } else {
        let socket = new_socket(server)?;
        socket.connect_timeout(&server.into(), timeout)?;
        socket
    };
    let keepalive = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_EVERY)
        .with_retries(PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    let socket = TcpStream::from(socket);
    socket.set_nodelay(true)?;
    Ok(socket)
}

fn new_socket(server: SocketAddr) -> io::Result<Socket> {
    Socket::new(
        Domain::for_address(server),
        Type::STREAM,
        Some(Protocol::TCP),
    )
}

/// `None` if no such port is free. The caller then uses any other port.
fn connect_from_privileged_port(
    server: SocketAddr,
    timeout: Duration,
) -> io::Result<Option<Socket>> {
    let start = fastrand::u16(PRIVILEGED_PORTS);
    let ports = (start..=*PRIVILEGED_PORTS.end()).chain(*PRIVILEGED_PORTS.start()..start);
    for port in ports {
        let local = match server {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        };
        let socket = new_socket(server)?;
        // A port is free although a connection from it to another server is still fading.
        socket.set_reuse_address(true)?;
        match socket.bind(&local.into()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AddrInUse => continue,
            Err(_) => return Ok(None),
        }
        match socket.connect_timeout(&server.into(), timeout) {
            Ok(()) => return Ok(Some(socket)),
            // The fading connection was to this very server.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::TcpListener;
    use std::os::unix::fs::MetadataExt;
    use std::time::Duration;

    use socket2::SockRef;

    use super::{PRIVILEGED_PORTS, connect};

    #[test]
    fn root_calls_from_a_privileged_port_and_others_from_any() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let root = fs::metadata("/proc/self").expect("this process").uid() == 0;
        let _streams: Vec<_> = (0..3)
            .map(|_| connect(address, Duration::from_secs(5)).expect("connected"))
            .collect();
        for _ in 0..3 {
            let (_, caller) = listener.accept().expect("a connection");
            let privileged = PRIVILEGED_PORTS.contains(&caller.port());
            assert_eq!(privileged, root, "{caller}");
        }
    }

    #[test]
    fn the_kernel_looks_whether_the_server_is_still_there() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let stream = connect(address, Duration::from_secs(5)).expect("connected");
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().expect("the option"));
        let until_gone = socket.tcp_keepalive_time().expect("the option")
            + socket.tcp_keepalive_interval().expect("the option")
                * socket.tcp_keepalive_retries().expect("the option");
        assert_eq!(until_gone, Duration::from_secs(20));
        let unacknowledged = socket.tcp_user_timeout().expect("the option");
        assert_eq!(unacknowledged, Some(Duration::from_secs(20)));
    }
}
