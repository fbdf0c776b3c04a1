//! The relay in front of the server, which passes bytes on or does not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::Shared;
use super::fragments::Fragmenter;

/// Passes bytes between a client and the server until either closes or a fault cuts the line.
pub async fn relay(
    shared: Arc<Shared>,
    client: TcpStream,
    behind: SocketAddr,
) -> std::io::Result<()> {
    let server = TcpStream::connect(behind).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        result = pass_calls(from_client, to_server) => result,
        result = pass_answers(&shared, from_server, to_client) => result,
    }
}

async fn pass_calls(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> std::io::Result<()> {
    tokio::io::copy(&mut from, &mut to).await.map(|_| ())
}

async fn pass_answers(
    shared: &Shared,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let mut fragmenter = Fragmenter::default();
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        while shared.faults().held {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let size = shared.faults().fragments;
        if let Some(size) = size {
            to.write_all(&fragmenter.pass(&buffer[..length], size))
                .await?;
            continue;
        }
        let (pass, close) = shared.faults().answer(length);
        to.write_all(&buffer[..pass]).await?;
        if close {
            return Ok(());
        }
    }
}
