//! The published images over NFSv3, for the flasher and similar clients: a read-only share whose MOUNT service is on the same port.
//!
//! The crate `nfs3_server` speaks the protocol, but does not limit its clients. It therefore listens only on loopback, behind a [`gate`]
//! that does.

mod files;
mod gate;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use log::warn;
use nfs3_server::tcp::{NFSTcp, NFSTcpListener};
use nfs3_server::vfs::adapters::ReadOnlyAdapter;
use tokio::net::TcpListener;
use tokio::time::sleep;

use files::Files;

/// The path of the share.
pub const EXPORT: &str = "/images";
/// With a fixed generation, file handles stay valid when the server restarts.
const GENERATION: u64 = 1;
const PAUSE: Duration = Duration::from_secs(1);

/// Serves the folder on this address until the program ends. Returns the address, and the future that does the serving.
pub async fn serve(
    folder: &Path,
    address: SocketAddr,
) -> io::Result<(SocketAddr, impl Future<Output = ()> + use<>)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let (behind, server) = start(folder, 0).await?;
    let folder = folder.to_path_buf();
    let port = behind.port();
    tokio::spawn(async move {
        let mut server = server;
        loop {
            // A panic or an error in one connection ends the whole server. Then another one takes over.
            let end = tokio::spawn(async move { server.handle_forever().await }).await;
            warn!("the NFS server has ended and starts again: {end:?}");
            server = loop {
                sleep(PAUSE).await;
                match start(&folder, port).await {
                    Ok((_, server)) => break server,
                    Err(error) => warn!("the NFS server does not start: {error}"),
                }
            };
        }
    });
    Ok((address, gate::open(listener, behind)))
}

async fn start(
    folder: &Path,
    port: u16,
) -> io::Result<(SocketAddr, NFSTcpListener<ReadOnlyAdapter<Files>>)> {
    let files = ReadOnlyAdapter::new(Files::of(folder)?);
    let wanted = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).to_string();
    let mut server = NFSTcpListener::bind_with_generation(&wanted, files, GENERATION).await?;
    server.with_export_name(EXPORT);
    let address = SocketAddr::new(server.get_listen_ip(), server.get_listen_port());
    Ok((address, server))
}
