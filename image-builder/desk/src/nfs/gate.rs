//! The gate before the NFS server. It limits the length of calls and their number at a time, and drops clients that do not take their
//! answers. The server itself accepts any length, keeps answering a client that reads nothing, and ends if it cannot accept a connection.
//!
//! Records have the form of RFC 5531, section 11: fragments, each with a length of four bytes whose highest bit marks the last one. A call
//! and its answer begin with the same number of four bytes.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::warn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::places::{Place, Places};
use crate::source::Source;

/// Longest call, bytes. A call that writes nothing is a few hundred, and one that mounts at most 2000.
const LONGEST_CALL: usize = 4 << 10;
/// Longest answer, bytes: a READ of 1 MiB with its headers.
const LONGEST_ANSWER: usize = (1 << 20) + (4 << 10);
/// At most this many calls of one connection are open at a time. The flasher has one.
const AT_ONCE: usize = 8;
/// At most this many answers are being sent at a time, and this many to one source. Each answer may have the greatest length, so together
/// they take up to 128 MiB of memory, which a link of 10 Gbit/s carries in a tenth of a second.
const ANSWERS: usize = 128;
const ANSWERS_OF_SOURCE: usize = 32;
/// At most this many connections are open at a time, and this many of one source. A flasher has five, so 200 flashers have 1000.
const CONNECTIONS: usize = 2048;
const CONNECTIONS_OF_SOURCE: usize = 64;
/// How long a client may take to receive an answer: 1 MiB needs 280 kbit/s.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a call may stay without an answer. A disk may be slow. But a call that the server takes for a repetition never gets an answer.
const SLOWEST: Duration = Duration::from_mins(2);
/// How long a client may say nothing. The flasher asks again on a new connection.
const SILENCE: Duration = Duration::from_mins(10);
const PAUSE: Duration = Duration::from_millis(100);
const LAST: u32 = 1 << 31;

/// The gate.
struct Gate {
    behind: SocketAddr,
    connections: Arc<Places>,
    answers: Arc<Places>,
    patience: Duration,
    slowest: Duration,
}

impl Gate {
    fn to(behind: SocketAddr) -> Self {
        Self {
            behind,
            connections: Places::new(CONNECTIONS, CONNECTIONS_OF_SOURCE),
            answers: Places::new(ANSWERS, ANSWERS_OF_SOURCE),
            patience: PATIENCE,
            slowest: SLOWEST,
        }
    }
}

/// Lets clients in, forever.
pub async fn open(listener: TcpListener, behind: SocketAddr) {
    let gate = Arc::new(Gate::to(behind));
    loop {
        match listener.accept().await {
            Ok((client, from)) => {
                // A source with too many connections gets this one closed.
                let Ok(place) = gate.connections.take(Source::of(from)) else {
                    continue;
                };
                let gate = Arc::clone(&gate);
                tokio::spawn(async move {
                    // If the client goes away, there is nothing to do.
                    let _ = pass(client, from, &gate).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!("a connection for NFS cannot be taken: {error}");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Passes calls and answers until either side ends.
async fn pass(client: TcpStream, from: SocketAddr, gate: &Gate) -> io::Result<()> {
    let server = TcpStream::connect(gate.behind).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let open = Open {
        gate,
        source: Source::whoever(from),
        free: Semaphore::new(AT_ONCE),
        calls: Mutex::default(),
    };
    tokio::select! {
        result = open.calls(from_client, to_server) => result,
        result = open.answers(from_server, to_client) => result,
    }
}

/// One connection.
struct Open<'a> {
    gate: &'a Gate,
    source: Source,
    free: Semaphore,
    /// The calls that were passed on and are not answered yet, by number: when each came, and the place that its answer holds.
    calls: Mutex<HashMap<[u8; 4], (Instant, Place)>>,
}

impl Open<'_> {
    async fn calls(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        loop {
            let call = timeout(SILENCE, record(&mut from, LONGEST_CALL)).await??;
            let Ok(at_once) = self.free.acquire().await else {
                return Ok(());
            };
            at_once.forget();
            let place = self.gate.answers.wait(self.source).await;
            let before = self.lock().insert(number(&call)?, (Instant::now(), place));
            if before.is_some() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            to.write_all(&call).await?;
        }
    }

    async fn answers(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let (patience, slowest) = (self.gate.patience, self.gate.slowest);
        loop {
            let has_come = timeout(patience, from.readable()).await;
            let mut since = self.lock().values().map(|(since, _)| since.elapsed()).max();
            if since.take().is_some_and(|since| since > slowest) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if has_come.is_err() {
                continue;
            }
            let answer = record(&mut from, LONGEST_ANSWER).await?;
            let place = self.lock().remove(&number(&answer)?);
            timeout(patience, to.write_all(&answer)).await??;
            // The answer holds its place until all of it is sent.
            drop(place);
            self.free.add_permits(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 4], (Instant, Place)>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of a call or an answer, whose first fragment has it whole.
fn number(record: &[u8]) -> io::Result<[u8; 4]> {
    let is_whole = record
        .first_chunk()
        .is_some_and(|mark| u32::from_be_bytes(*mark) & !LAST >= 4);
    let number = record.get(4..8).filter(|_| is_whole);
    let number = number.and_then(|number| number.try_into().ok());
    number.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// One record, with its marks as they came.
async fn record(from: &mut OwnedReadHalf, longest: usize) -> io::Result<Vec<u8>> {
    let mut record = Vec::new();
    loop {
        let mark = from.read_u32().await?;
        let start = record.len() + size_of::<u32>();
        let length = usize::try_from(mark & !LAST).unwrap_or(usize::MAX);
        // Empty fragments must not go on forever either.
        if start.saturating_add(length) > longest {
            return Err(io::ErrorKind::InvalidData.into());
        }
        record.extend_from_slice(&mark.to_be_bytes());
        record.resize(start + length, 0);
        from.read_exact(&mut record[start..]).await?;
        if mark & LAST != 0 {
            return Ok(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(test);
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.expect("connected"), server.expect("accepted").0)
    }

    async fn read(bytes: &[u8], longest: usize) -> io::Result<Vec<u8>> {
        let (mut client, server) = pair().await;
        client.write_all(bytes).await.expect("sent");
        drop(client);
        record(&mut server.into_split().0, longest).await
    }

    #[test]
    fn a_record_of_several_fragments_passes_as_it_is() {
        run(async {
            let bytes = b"\0\0\0\x02ab\0\0\0\0\x80\0\0\x01c";
            assert_eq!(read(bytes, 100).await.expect("a record"), bytes);
        });
    }

    #[test]
    fn a_length_is_not_believed() {
        run(async {
            for bytes in [
                &b"\x7f\xff\xff\xff"[..],
                b"\xff\xff\xff\xff",
                b"\x80\0\0\x61",
                &[0; 200],
            ] {
                let error = read(bytes, 100).await.expect_err("too long");
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bytes:?}");
            }
        });
    }

    /// A call or an answer that is only its number.
    fn numbered(number: u32) -> [u8; 8] {
        let mut record = [0x80, 0, 0, 4, 0, 0, 0, 0];
        record[4..].copy_from_slice(&number.to_be_bytes());
        record
    }

    fn from(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 1).into()
    }

    /// A gate that lets this many answers through at a time, and the server behind it.
    async fn gate(answers: usize, of_source: usize) -> (Arc<Gate>, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let gate = Gate {
            answers: Places::new(answers, of_source),
            patience: Duration::from_millis(300),
            slowest: Duration::from_secs(3),
            ..Gate::to(listener.local_addr().expect("an address"))
        };
        (Arc::new(gate), listener)
    }

    /// A client at this address: its end, the server's end, and how it ends.
    async fn client(
        gate: &Arc<Gate>,
        listener: &TcpListener,
        last: u8,
    ) -> (
        TcpStream,
        TcpStream,
        tokio::task::JoinHandle<io::Result<()>>,
    ) {
        let (client, passed) = pair().await;
        let gate = Arc::clone(gate);
        let end = tokio::spawn(async move { pass(passed, from(last), &gate).await });
        let (server, _) = listener.accept().await.expect("the gate");
        (client, server, end)
    }

    async fn calls(client: &mut TcpStream, numbers: std::ops::Range<u32>) {
        for number in numbers {
            client.write_all(&numbered(number)).await.expect("sent");
        }
    }

    /// How many calls come to the server.
    async fn come(server: &mut TcpStream) -> usize {
        let mut bytes = [0; 8];
        let mut come = 0;
        while let Ok(Ok(_)) =
            timeout(Duration::from_millis(100), server.read_exact(&mut bytes)).await
        {
            come += 1;
        }
        come
    }

    /// A client sends calls and takes no answers. Only a limited number of its calls is answered.
    #[test]
    fn calls_wait_for_answers() {
        run(async {
            let (gate, listener) = gate(ANSWERS, ANSWERS_OF_SOURCE).await;
            let (mut client, mut server, _end) = client(&gate, &listener, 1).await;
            calls(&mut client, 0..24).await;
            assert_eq!(come(&mut server).await, AT_ONCE);
            server.write_all(&numbered(0)).await.expect("answered");
            let mut answer = [0; 8];
            client.read_exact(&mut answer).await.expect("an answer");
            assert_eq!(come(&mut server).await, 1, "the next call");
        });
    }

    /// A client with many connections still gets only its share, so a flasher finds room beside it.
    #[test]
    fn answers_under_way_are_bounded_for_all_connections_together() {
        run(async {
            let (gate, listener) = gate(12, 10).await;
            let mut held = Vec::new();
            let mut come_to = [0; 4];
            // Two hostile ones with four connections each, then two others.
            for last in [1, 1, 1, 1, 2, 2, 2, 2, 3, 4] {
                let (mut client, mut server, end) = client(&gate, &listener, last).await;
                calls(&mut client, 0..8).await;
                come_to[usize::from(last) - 1] += come(&mut server).await;
                held.push((client, server, end));
            }
            let all: usize = come_to.iter().sum();
            assert!(all <= 12, "{come_to:?}");
            assert!(come_to.iter().all(|come| *come > 0), "{come_to:?}");
        });
    }

    #[test]
    fn who_takes_no_answer_is_dropped_and_gives_its_room_back() {
        run(async {
            let (gate, listener) = gate(2, 1).await;
            let (mut deaf, mut server, end) = client(&gate, &listener, 1).await;
            calls(&mut deaf, 0..1).await;
            assert_eq!(come(&mut server).await, 1);
            // These answers are more than the buffers of a connection hold.
            tokio::spawn(async move {
                let mut answer = vec![0; LONGEST_ANSWER - 4];
                answer[..8].copy_from_slice(&numbered(0));
                let length = u32::try_from(answer.len() - 4).expect("short");
                answer[..4].copy_from_slice(&(length | LAST).to_be_bytes());
                // Answers to calls that were never made, too.
                while server.write_all(&answer).await.is_ok() {}
            });
            let end = timeout(Duration::from_secs(10), end).await;
            let error = end.expect("in time").expect("no panic");
            let error = error.expect_err("it reads nothing");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            let (mut next, mut server, _end) = client(&gate, &listener, 1).await;
            calls(&mut next, 0..1).await;
            assert_eq!(come(&mut server).await, 1, "there is room again");
        });
    }

    /// The server does not answer a call whose number it has seen before.
    #[test]
    fn a_call_without_an_answer_holds_its_room_for_a_while_only() {
        run(async {
            let (gate, listener) = gate(2, 1).await;
            let (mut client, _server, end) = client(&gate, &listener, 1).await;
            calls(&mut client, 7..8).await;
            let end = timeout(Duration::from_secs(10), end).await;
            let error = end.expect("in time").expect("no panic").expect_err("late");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn a_number_that_is_under_way_ends_the_connection() {
        run(async {
            let (gate, listener) = gate(8, 8).await;
            for bytes in [&[numbered(7), numbered(7)].concat()[..], b"\x80\0\0\x01x"] {
                let (mut client, _server, end) = client(&gate, &listener, 1).await;
                client.write_all(bytes).await.expect("sent");
                let error = end.await.expect("no panic").expect_err("nonsense");
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            }
        });
    }
}
