//! The TCP stream below the RPC client.
//!
//! The RPC client asks for futures. Ours are ready when they are made: the calls block, the kernel
//! keeps the time, and no runtime is needed. See [`complete`].

use std::future::{Future, ready};
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use nfs3_client::io::{AsyncRead, AsyncWrite};

use crate::connect::connect;
use crate::limits::LIMITS_PER_ANSWER;
use crate::record::{Record, check_verifier, invalid};
use gild_source::{Patience, TICK};

/// How long to wait, and who hears of it.
#[derive(Clone)]
pub struct Waits {
    /// For a connection to one address. The kernel takes a call within this time, too: it is only a few bytes.
    pub connect: Duration,
    /// For an answer on a connection that holds.
    pub answer: Duration,
    pub patience: Arc<dyn Patience>,
}

/// A connection that ends: when the peer closes it, when TCP finds the peer gone, when the peer gives no answer for too
/// long, and when the peer announces more than an answer can hold.
pub struct Stream {
    socket: TcpStream,
    server: SocketAddr,
    waits: Waits,
    /// When the last call was sent.
    asked: Instant,
    /// When the last byte came.
    heard: Instant,
    /// When the patience last heard of a wait.
    reported: Instant,
    reading: Reading,
}

/// What the RPC client reads next. It reads a message in two parts: its length, then all of it.
enum Reading {
    Length,
    Message,
    /// A message that came in fragments and was put together.
    Assembled(Vec<u8>),
}

impl Stream {
    /// Connects.
    pub fn connect(server: SocketAddr, waits: Waits) -> io::Result<Self> {
        let socket = connect(server, waits.connect)?;
        socket.set_read_timeout(Some(waits.answer.min(TICK)))?;
        socket.set_write_timeout(Some(waits.connect))?;
        waits.patience.got_on();
        let now = Instant::now();
        Ok(Self {
            socket,
            server,
            waits,
            asked: now,
            heard: now,
            reported: now,
            reading: Reading::Length,
        })
    }

    /// Whether only root can open this end's port.
    pub fn is_privileged(&self) -> bool {
        let local = self.socket.local_addr();
        local.is_ok_and(|local| local.port() < 1024)
    }

    /// Waits no longer than this for an answer from here on.
    pub fn hurry(&mut self, limit: Duration) {
        self.waits.answer = self.waits.answer.min(limit);
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.asked = Instant::now();
        self.heard = self.asked;
        self.reported = self.asked;
        self.socket.write_all(bytes)
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
                Ok(read) => {
                    filled += read;
                    self.heard = Instant::now();
                }
                // The kernel reports the end of our tick on a blocking socket as "try again".
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                // And this is TCP's own verdict.
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    return Err(io::Error::new(
                        ErrorKind::TimedOut,
                        "the server is gone from the network in mid-connection",
                    ));
                }
                Err(error) => return Err(error),
            }
            if filled < buffer.len() {
                self.wait_on()?;
            }
        }
        Ok(())
    }

    /// A part of the answer is still missing.
    fn wait_on(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let silent = now - self.heard;
        let limit = self.waits.answer;
        if silent >= limit {
            return Err(io::Error::new(
                ErrorKind::TimedOut,
                format!("no answer for {limit:?}"),
            ));
        }
        let limit = limit * LIMITS_PER_ANSWER;
        if now - self.asked >= limit {
            return Err(io::Error::new(
                ErrorKind::TimedOut,
                format!("the answer was not complete after {limit:?}"),
            ));
        }
        if now - self.reported >= TICK {
            if self.waits.patience.is_over() {
                return Err(io::Error::new(
                    ErrorKind::TimedOut,
                    "other requests have waited for too long already",
                ));
            }
            self.reported = now;
            self.waits.patience.waiting(&self.server, silent);
        }
        Ok(())
    }

    fn receive_part(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        match mem::replace(&mut self.reading, Reading::Length) {
            Reading::Length => {
                let mark = buffer
                    .try_into()
                    .map_err(|_| invalid("a record mark of the wrong size"))?;
                self.reading = self.receive_mark(mark)?;
                return Ok(());
            }
            Reading::Message => self.receive(buffer)?,
            Reading::Assembled(message) => buffer.copy_from_slice(&message),
        }
        check_verifier(buffer)?;
        self.waits.patience.got_on();
        Ok(())
    }

    /// Reads the mark of a message. The common one comes in one piece, and is left to be read to where it is wanted.
    fn receive_mark(&mut self, mark: &mut [u8; 4]) -> io::Result<Reading> {
        let mut record = Record::default();
        self.receive(mark)?;
        let mut fragment = record.next(*mark)?;
        if fragment.is_last {
            return Ok(Reading::Message);
        }
        let mut message = Vec::new();
        loop {
            let start = message.len();
            message.resize(start + fragment.length, 0);
            self.receive(&mut message[start..])?;
            if fragment.is_last {
                *mark = record.whole_mark();
                return Ok(Reading::Assembled(message));
            }
            let mut next = [0; 4];
            self.receive(&mut next)?;
            fragment = record.next(next)?;
        }
    }
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

impl AsyncRead for &mut Stream {
    fn async_read(&mut self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send {
        (**self).async_read(buffer)
    }

    fn async_read_exact(
        &mut self,
        buffer: &mut [u8],
    ) -> impl Future<Output = io::Result<()>> + Send {
        (**self).async_read_exact(buffer)
    }
}

impl AsyncWrite for &mut Stream {
    fn async_write(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> + Send {
        (**self).async_write(bytes)
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
    use std::fmt::Display;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};
    use std::thread;
    use std::time::Duration;

    use nfs3_client::RpcError;
    use nfs3_client::rpc::RpcClient;
    use nfs3_types::xdr_codec::Void;

    use super::{Stream, Waits, complete};
    use crate::record::LAST_FRAGMENT;
    use gild_source::TICK;
    use gild_source::{Patience, Trouble};

    /// Remembers what it heard while an answer was waited for.
    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);

    impl Log {
        fn note(&self, line: &str) {
            self.0.lock().expect("no panic").push(line.to_owned());
        }

        fn lines(&self) -> Vec<String> {
            self.0.lock().expect("no panic").clone()
        }
    }

    impl Patience for Log {
        fn wait(&self, _: u32, _: &dyn Trouble) -> bool {
            unreachable!("a stream does not try again")
        }

        fn got_on(&self) {
            self.note("got on");
        }

        fn waiting(&self, _: &dyn Display, silent: Duration) {
            self.note(&format!("waiting for {} s", silent.as_secs()));
        }
    }

    /// One call, answered by `server`, which gets the connection after the call was read.
    fn call(server: impl FnOnce(TcpStream, [u8; 4]) + Send + 'static) -> Result<Void, RpcError> {
        call_with(Duration::from_secs(10), &Arc::default(), server)
    }

    /// The same for an answer that does not come in time.
    fn late(server: impl FnOnce(TcpStream, [u8; 4]) + Send + 'static) -> Result<Void, RpcError> {
        call_with(Duration::from_millis(300), &Arc::default(), server)
    }

    fn call_with(
        answer: Duration,
        log: &Arc<Log>,
        server: impl FnOnce(TcpStream, [u8; 4]) + Send + 'static,
    ) -> Result<Void, RpcError> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a connection");
            let mut mark = [0; 4];
            socket.read_exact(&mut mark).expect("a record mark");
            let length = u32::from_be_bytes(mark) & !LAST_FRAGMENT;
            let mut call = vec![0; length as usize];
            socket.read_exact(&mut call).expect("a call");
            server(socket, call[..4].try_into().expect("an XID"));
        });
        let waits = Waits {
            connect: Duration::from_secs(5),
            answer,
            patience: log.clone(),
        };
        let stream = Stream::connect(address, waits).expect("connected");
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
    fn an_answer_in_fragments_is_put_together() {
        let result = call(|mut socket, xid| {
            let xid = u32::from_be_bytes(xid);
            let pieces: [&[u32]; 4] = [&[4, xid], &[0], &[12, 1, 0, 0], &[LAST_FRAGMENT | 8, 0, 0]];
            for piece in pieces {
                socket.write_all(&words(piece)).expect("sent");
                thread::sleep(Duration::from_millis(10));
            }
        });
        assert!(result.is_ok(), "{result:?}");
    }

    #[test]
    fn an_answer_of_endless_fragments_is_refused() {
        let error = io_error(call(|mut socket, _| {
            let empty = [0; 4 * 4096];
            while socket.write_all(&empty).is_ok() {}
        }));
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_slow_server_is_waited_for_and_the_patience_hears_of_it() {
        let log = Arc::<Log>::default();
        let result = call_with(3 * TICK, &log, |mut socket, xid| {
            thread::sleep(2 * TICK + TICK / 2);
            let xid = u32::from_be_bytes(xid);
            let answer = words(&[0x8000_0018, xid, 1, 0, 0, 0, 0]);
            socket.write_all(&answer).expect("sent");
        });
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(
            log.lines(),
            ["got on", "waiting for 1 s", "waiting for 2 s", "got on"]
        );
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
        let error = io_error(late(|socket, _| {
            // Holds the connection until the client closes it.
            let _ = (&socket).read(&mut [0; 1]);
        }));
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn a_server_that_drips_is_given_up() {
        let error = io_error(late(|mut socket, _| {
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
