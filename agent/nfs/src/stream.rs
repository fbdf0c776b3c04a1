//! The TCP stream below the RPC client.
//!
//! The RPC client asks for futures. Ours are ready when they are made: the calls block, the kernel
//! keeps the time, and no runtime is needed. See [`complete`].

use std::future::{Future, ready};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use nfs3_client::io::{AsyncRead, AsyncWrite};
use socket2::{Domain, Protocol, Socket, Type};

use crate::limits::MAX_READ;

/// The largest answer a server may send: the data of one READ and its headers.
const MAX_MESSAGE: u32 = MAX_READ + 4096;

/// RFC 5531, section 8.2: the body of an authentication field.
const MAX_AUTH_BODY: u32 = 400;

/// Many servers serve only callers with a port that takes root to open. These are the ones that
/// the Linux client uses: the lower ones belong to services.
const PRIVILEGED_PORTS: std::ops::RangeInclusive<u16> = 665..=1023;

/// A server that sends a byte now and then is given up after this many time-outs.
const TIMEOUTS_PER_CALL: u32 = 12;

const LAST_FRAGMENT: u32 = 1 << 31;

/// A connection that ends: when the peer closes it, when the peer is silent for too long, and when
/// the peer announces more than an answer can hold.
pub struct Stream {
    socket: TcpStream,
    timeout: Duration,
    deadline: Instant,
    /// Whether the length of the next message has been read, but not yet the message.
    in_message: bool,
}

impl Stream {
    /// Connects, from a privileged port where the system allows it.
    pub fn connect(server: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let socket = if let Some(socket) = connect_from_privileged_port(server, timeout)? {
            socket
        } else {
            let socket = new_socket(server)?;
            socket.connect_timeout(&server.into(), timeout)?;
            socket
        };
        let socket = TcpStream::from(socket);
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(timeout))?;
        socket.set_write_timeout(Some(timeout))?;
        Ok(Self {
            socket,
            timeout,
            deadline: Instant::now() + timeout,
            in_message: false,
        })
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.deadline = Instant::now() + self.timeout * TIMEOUTS_PER_CALL;
        self.socket
            .write_all(bytes)
            .map_err(|error| self.explain(error))
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.socket.read(&mut buffer[filled..]) {
                Ok(0) => {
                    return Err(io::Error::new(
                        ErrorKind::UnexpectedEof,
                        "the server closed the connection",
                    ));
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.explain(error)),
            }
            if Instant::now() > self.deadline && filled < buffer.len() {
                return Err(io::Error::new(
                    ErrorKind::TimedOut,
                    format!(
                        "the answer was not complete after {:?}",
                        self.timeout * TIMEOUTS_PER_CALL
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The RPC client reads a message in two parts: its length, then all of it.
    fn receive_part(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.receive(buffer)?;
        if self.in_message {
            check_verifier(buffer)?;
        } else {
            check_record_mark(buffer)?;
        }
        self.in_message = !self.in_message;
        Ok(())
    }

    /// The kernel reports a time-out on a blocking socket as "try again".
    fn explain(&self, error: io::Error) -> io::Error {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => io::Error::new(
                ErrorKind::TimedOut,
                format!("no answer for {:?}", self.timeout),
            ),
            _ => error,
        }
    }
}

/// RFC 5531, section 11. The client allocates what the mark says before it reads.
pub fn check_record_mark(mark: &[u8]) -> io::Result<()> {
    let mark = word(mark, 0).ok_or_else(|| invalid("a record mark of the wrong size"))?;
    if mark & LAST_FRAGMENT == 0 {
        return Err(invalid("an answer in several fragments"));
    }
    let length = mark & !LAST_FRAGMENT;
    if length > MAX_MESSAGE {
        return Err(invalid(format!(
            "an answer of {length} bytes, when {MAX_MESSAGE} is the limit"
        )));
    }
    Ok(())
}

/// The client allocates what the verifier of an accepted reply says before it looks for the bytes, and so it does for
/// a message that is not a reply at all.
pub fn check_verifier(message: &[u8]) -> io::Result<()> {
    const REPLY: u32 = 1;
    const ACCEPTED: u32 = 0;
    if word(message, 1).is_some_and(|kind| kind != REPLY) {
        return Err(invalid("a message that is not a reply"));
    }
    let accepted = word(message, 2) == Some(ACCEPTED);
    match word(message, 4) {
        Some(length) if accepted && length > MAX_AUTH_BODY => {
            Err(invalid(format!("a verifier of {length} bytes")))
        }
        _ => Ok(()),
    }
}

/// The 32-bit word number `index` of a message.
fn word(message: &[u8], index: usize) -> Option<u32> {
    let bytes = message.get(index * 4..index * 4 + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason.into())
}

fn new_socket(server: SocketAddr) -> io::Result<Socket> {
    Socket::new(
        Domain::for_address(server),
        Type::STREAM,
        Some(Protocol::TCP),
    )
}

/// `None` when no such port is to be had, and any other must do.
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

impl AsyncRead for Stream {
    fn async_read(&mut self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send {
        ready(self.receive(buffer).map(|()| buffer.len()))
    }

    fn async_read_exact(
        &mut self,
        buffer: &mut [u8],
    ) -> impl Future<Output = io::Result<()>> + Send {
        ready(self.receive_part(buffer))
    }
}

impl AsyncWrite for Stream {
    fn async_write(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> + Send {
        ready(self.send(bytes).map(|()| bytes.len()))
    }
}

/// The result of a future that only ever waits for a [`Stream`].
pub fn complete<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("a stream's futures are ready when they are made"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::unix::fs::MetadataExt;
    use std::thread;
    use std::time::Duration;

    use nfs3_client::RpcError;
    use nfs3_client::rpc::RpcClient;
    use nfs3_types::xdr_codec::Void;

    use super::{Stream, complete};

    /// One call, answered by `server`, which gets the connection after the call was read.
    fn call(server: impl FnOnce(TcpStream, [u8; 4]) + Send + 'static) -> Result<Void, RpcError> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a connection");
            let mut mark = [0; 4];
            socket.read_exact(&mut mark).expect("a record mark");
            let length = u32::from_be_bytes(mark) & !super::LAST_FRAGMENT;
            let mut call = vec![0; length as usize];
            socket.read_exact(&mut call).expect("a call");
            server(socket, call[..4].try_into().expect("an XID"));
        });
        let stream = Stream::connect(address, Duration::from_millis(300)).expect("connected");
        let result = complete(RpcClient::new(stream).call::<Void, Void>(1, 1, 1, &Void));
        server.join().expect("the server did its part");
        result
    }

    fn io_error(result: Result<Void, RpcError>) -> std::io::Error {
        match result {
            Err(RpcError::Io(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn a_proper_answer_is_read() {
        let result = call(|mut socket, xid| {
            let xid = u32::from_be_bytes(xid);
            let answer = words(&[0x8000_0018, xid, 1, 0, 0, 0, 0]);
            socket.write_all(&answer).expect("sent");
        });
        assert!(result.is_ok(), "{result:?}");
    }

    #[test]
    fn root_calls_from_a_privileged_port_and_others_from_any() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let root = fs::metadata("/proc/self").expect("this process").uid() == 0;
        let _streams: Vec<_> = (0..3)
            .map(|_| Stream::connect(address, Duration::from_secs(5)).expect("connected"))
            .collect();
        for _ in 0..3 {
            let (_, caller) = listener.accept().expect("a connection");
            let privileged = super::PRIVILEGED_PORTS.contains(&caller.port());
            assert_eq!(privileged, root, "{caller}");
        }
    }

    #[test]
    fn a_closed_connection_is_an_error_and_not_an_endless_loop() {
        let before = call(|socket, _| socket.shutdown(Shutdown::Both).expect("closed"));
        assert_eq!(io_error(before).kind(), ErrorKind::UnexpectedEof);
        let in_mid_answer = call(|mut socket, xid| {
            socket.write_all(&words(&[0x8000_0018])).expect("sent");
            socket.write_all(&xid).expect("sent");
        });
        assert_eq!(io_error(in_mid_answer).kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_silent_server_times_out() {
        let error = io_error(call(|socket, _| {
            // Holds the connection until the client closes it.
            let _ = (&socket).read(&mut [0; 1]);
        }));
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn a_server_that_drips_is_given_up() {
        let error = io_error(call(|mut socket, _| {
            socket.write_all(&words(&[0x8000_1000])).expect("sent");
            while socket.write_all(&[0]).is_ok() {
                thread::sleep(Duration::from_millis(50));
            }
        }));
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("not complete"), "{error}");
    }

    #[test]
    fn an_answer_of_two_gigabytes_is_refused_before_memory_is_taken() {
        let error = io_error(call(|mut socket, _| {
            socket.write_all(&words(&[0xffff_ffff])).expect("sent");
        }));
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_verifier_of_four_gigabytes_is_refused_before_memory_is_taken() {
        let error = io_error(call(|mut socket, xid| {
            let xid = u32::from_be_bytes(xid);
            let answer = words(&[0x8000_0018, xid, 1, 0, 0, 0xffff_fff0, 0]);
            socket.write_all(&answer).expect("sent");
        }));
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}
