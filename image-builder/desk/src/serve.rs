//! Runs the desk: three ports, until somebody stops it.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use log::{info, warn};
use tokio::signal::unix::{SignalKind, signal};

use crate::desk::Desk;
use crate::folder::Folder;
use crate::settings::Settings;
use crate::{nfs, tls, web};

/// How long open connections may take to end.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long a client may take for the head of its request.
const HEAD: Duration = Duration::from_secs(10);

/// Runs the desk of this folder on this address of the machine, until the program is asked to end.
pub fn serve(folder: &Path, listen: IpAddr) -> Result<()> {
    let folder = Folder::new(folder);
    let settings = Settings::read(&folder.settings())?;
    let desk = Arc::new(Desk::open(&folder)?);
    let config = tls::config(&folder.tls())?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(run(&desk, &settings, listen, config))
}

async fn run(
    desk: &Arc<Desk>,
    settings: &Settings,
    listen: IpAddr,
    config: Arc<rustls::ServerConfig>,
) -> Result<()> {
    let (mut end, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let images = desk.folder().images();
    let at = |port| SocketAddr::new(listen, port);
    let (nfs_address, nfs) = nfs::serve(&images, at(settings.nfs_port))
        .await
        .with_context(|| {
            format!(
                "cannot serve {} over NFS on {}",
                images.display(),
                at(settings.nfs_port)
            )
        })?;
    let (http, https) = (
        bind(at(settings.http_port))?,
        bind(at(settings.https_port))?,
    );
    // What waits for these lines can go on: all ports are open.
    info!(
        "images: nfs://{nfs_address}{} and http://{}/images",
        nfs::EXPORT,
        http.local_addr()?
    );
    info!(
        "identities, reports and the page: https://{}",
        https.local_addr()?
    );

    let handle = Handle::new();
    let mut plain = axum_server::from_tcp(http)?.handle(handle.clone());
    let mut secure = axum_server::from_tcp_rustls(https, RustlsConfig::from_config(config))?
        .handle(handle.clone());
    let timer = hyper_util::rt::TokioTimer::new();
    plain
        .http_builder()
        .http1()
        .timer(timer.clone())
        .header_read_timeout(HEAD);
    secure
        .http_builder()
        .http1()
        .timer(timer)
        .header_read_timeout(HEAD);

    tokio::select! {
        result = nfs => result.context("the NFS server has ended")?,
        result = plain.serve(web::images(desk).into_make_service()) => result.context("the HTTP server has ended")?,
        result = secure.serve(web::whole(desk).into_make_service()) => result.context("the HTTPS server has ended")?,
        _ = end.recv() => handle.graceful_shutdown(Some(FAREWELL)),
        _ = interrupt.recv() => handle.graceful_shutdown(Some(FAREWELL)),
    }
    warn!("the desk ends");
    Ok(())
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!("cannot listen on {address}; next: stop what has that port, or give another one")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
