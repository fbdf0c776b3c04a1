//! Runs the desk: three ports, until somebody stops it.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use log::{info, warn};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::desk::Desk;
use crate::folder::Folder;
use crate::metadata::Groups;
use crate::published::Published;
use crate::settings::Settings;
use crate::{end, nfs, tls, web};

/// How long open connections may take to end.
pub const FAREWELL: Duration = Duration::from_secs(2);
/// How often the desk checks whether its certificate needs renewal. Often, because somebody may have corrected the clock meanwhile.
const HOUR: Duration = Duration::from_hours(1);

/// Runs the desk of this folder on this address of the machine, until the program is asked to end.
pub fn serve(folder: &Path, listen: IpAddr) -> Result<()> {
    let folder = Folder::open(folder)?;
    let settings = Settings::read(&folder.settings())?;
    for (path, next) in [
        (
            folder.images(),
            "make it; `gild image publish` and `gild image build` fill it",
        ),
        (folder.groups(), "make it; `gild node add` fills it"),
    ] {
        ensure!(
            path.is_dir(),
            "{} is not a folder; next: {next}",
            path.display()
        );
    }
    for path in Groups::unusable(folder.path()) {
        warn!(
            "{} is not a group, and counts for nobody; next: correct it, or take it away",
            path.display()
        );
    }
    let desk = Arc::new(Desk::open(&folder)?);
    let config = tls::ready(&folder.tls(), &settings.names)?;
    allow_many_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let handle = Handle::new();
    end::when_asked(handle.clone())?;
    let result = runtime.block_on(run(&desk, settings, listen, config, handle));
    // A read may hang on a dead disk or a network file system. It must not hold up the end of the program.
    runtime.shutdown_timeout(FAREWELL);
    result
}

/// Each connection is an open file, and the default limit suits an interactive program, not a server.
fn allow_many_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        warn!("the limit of open files stays low: {error}");
    }
}

async fn run(
    desk: &Arc<Desk>,
    settings: Settings,
    listen: IpAddr,
    config: Arc<rustls::ServerConfig>,
    handle: Handle<SocketAddr>,
) -> Result<()> {
    let images = desk.folder().images();
    Published::check(&images).map_err(|error| cannot_read(&images, &error))?;
    let at = |port| SocketAddr::new(listen, port);
    let nfs_at = at(settings.nfs_port);
    let (nfs_address, nfs) = nfs::serve(&images, nfs_at).await.map_err(|error| {
        let next = next_step(&error);
        anyhow!(
            "cannot serve {} over NFS on {nfs_at}: {error}; next: {next}",
            images.display()
        )
    })?;
    let (http, https) = (
        bind(at(settings.http_port))?,
        bind(at(settings.https_port))?,
    );
    // Scripts wait for these lines. All ports are open from here on.
    info!(
        "images: nfs://{nfs_address}{} and http://{}/images",
        nfs::EXPORT,
        http.local_addr()?
    );
    info!(
        "identities, reports and the page: https://{}",
        https.local_addr()?
    );
    let page = settings.matchbox();
    info!("open the page as {page}");

    let config = RustlsConfig::from_config(config);
    tokio::spawn(renew_in_time(
        desk.folder().clone(),
        settings.names,
        config.clone(),
    ));
    tokio::spawn(nfs);
    let guard = web::Guard::default();
    let only_tls = web::OnlyTls::new(guard.clone(), &page);
    let mut plain = axum_server::from_tcp(http)?
        .acceptor(guard)
        .handle(handle.clone())
        .http1_only();
    let mut secure = axum_server::from_tcp(https)?
        .acceptor(RustlsAcceptor::new(config).acceptor(only_tls))
        .handle(handle.clone())
        .http1_only();
    for builder in [plain.http_builder(), secure.http_builder()] {
        builder
            .http1()
            .timer(TokioTimer::new())
            .max_buf_size(web::BUFFER)
            .header_read_timeout(web::HEAD);
    }
    let plain = plain.serve(web::images(desk).into_make_service());
    let whole = web::whole(desk).into_make_service_with_connect_info::<SocketAddr>();
    let secure = secure.serve(whole);
    // Each server ends when it is asked to, or when it cannot go on.
    let (plain, secure) = tokio::join!(plain, secure);
    plain.context("the HTTP server has ended")?;
    secure.context("the HTTPS server has ended")
}

/// A desk runs for years, longer than a certificate lasts.
async fn renew_in_time(folder: Folder, names: Vec<String>, config: RustlsConfig) {
    loop {
        tokio::time::sleep(HOUR).await;
        match tls::ready(&folder.tls(), &names) {
            Ok(good) => config.reload_from_config(good),
            Err(error) => warn!("{error:#}"),
        }
    }
}

/// If the published images cannot be read, opening the port would not help.
fn cannot_read(images: &Path, error: &io::Error) -> anyhow::Error {
    let next = match error.kind() {
        io::ErrorKind::Unsupported => {
            "run it on Linux 5.6 or newer: the system call openat2 is not there. The QEMU of Debian 12 lacks it, too"
        }
        _ => "let the user of this program read the folder",
    };
    anyhow!("cannot read {}: {error}; next: {next}", images.display())
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|error| {
        let next = next_step(&error);
        anyhow!("cannot listen on {address}: {error}; next: {next}")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What the operator can do about a port that cannot be opened.
fn next_step(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => "give --listen an address of this machine",
        io::ErrorKind::PermissionDenied => {
            "give a port above 1023 in desk.toml and gild.toml, or let this program have lower ones"
        }
        _ => "stop what has that port, or give another one in desk.toml and gild.toml",
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn a_kernel_without_openat2_is_named_and_not_the_port() {
        let error = cannot_read(Path::new("desk/images"), &Errno::ENOSYS.into());
        let text = error.to_string();
        assert!(text.contains("openat2"), "{text}");
        assert!(!text.contains("port"), "{text}");
    }
}
