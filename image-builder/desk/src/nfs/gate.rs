//! What stands before the NFS server: calls of a bounded length, a bounded number of them at once, and clients that take their answers.
//! The server itself believes any length, answers without end a client that reads nothing, and ends when it cannot accept.
//!
//! Records are those of RFC 5531, section 11: fragments with a length of four bytes, whose highest bit marks the last one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use log::warn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Longest call, bytes. A call that writes nothing is a few hundred.
const LONGEST_CALL: usize = 16 << 10;
/// Longest answer, bytes: a READ of 1 MiB, and what is around it.
const LONGEST_ANSWER: usize = (1 << 20) + (4 << 10);
/// So many calls of one connection are answered at once. The flasher has one.
const AT_ONCE: usize = 8;
/// So many connections are open at once. A flasher has five.
const CONNECTIONS: usize = 1024;
/// How long a client may take for an answer that it was sent.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long a client may say nothing. The flasher asks again on a new connection.
const SILENCE: Duration = Duration::from_mins(10);
const PAUSE: Duration = Duration::from_millis(100);
const LAST: u32 = 1 << 31;

/// Lets clients in, forever.
pub async fn open(listener: TcpListener, behind: SocketAddr) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((client, _)) => {
                tokio::spawn(async move {
                    // A client that goes away is its own business.
                    let _ = pass(client, behind).await;
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
async fn pass(client: TcpStream, behind: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(behind).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let free = Semaphore::new(AT_ONCE);
    tokio::select! {
        result = calls(from_client, to_server, &free) => result,
        result = answers(from_server, to_client, &free) => result,
    }
}

async fn calls(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    free: &Semaphore,
) -> io::Result<()> {
    loop {
        let call = timeout(SILENCE, record(&mut from, LONGEST_CALL)).await??;
        let Ok(place) = free.acquire().await else {
            return Ok(());
        };
        place.forget();
        to.write_all(&call).await?;
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    free: &Semaphore,
) -> io::Result<()> {
    loop {
        let answer = record(&mut from, LONGEST_ANSWER).await?;
        timeout(PATIENCE, to.write_all(&answer)).await??;
        free.add_permits(1);
    }
}

/// One record, with its marks as they came.
async fn record(from: &mut OwnedReadHalf, longest: usize) -> io::Result<Vec<u8>> {
    let mut record = Vec::new();
    loop {
        let mark = from.read_u32().await?;
        let start = record.len() + size_of::<u32>();
        let length = usize::try_from(mark & !LAST).unwrap_or(usize::MAX);
        // Fragments of nothing have no end either.
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

    /// A client that sends calls and takes no answers has so many of them answered, and no more.
    #[test]
    fn calls_wait_for_answers() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let behind = listener.local_addr().expect("an address");
            let (mut client, gate) = pair().await;
            tokio::spawn(pass(gate, behind));
            let (mut server, _) = listener.accept().await.expect("the gate");
            for _ in 0..3 * AT_ONCE {
                client.write_all(b"\x80\0\0\x01x").await.expect("sent");
            }
            let mut bytes = vec![0; 5 * AT_ONCE];
            server.read_exact(&mut bytes).await.expect("what may pass");
            let more = timeout(Duration::from_millis(200), server.read_u8()).await;
            assert!(more.is_err(), "{more:?}");
            server.write_all(b"\x80\0\0\x01y").await.expect("answered");
            let mut answer = [0; 5];
            client.read_exact(&mut answer).await.expect("an answer");
            server
                .read_exact(&mut bytes[..5])
                .await
                .expect("the next call");
        });
    }
}
