//! An NFSv3 server inside this process, whose faults are chosen at run time.
//!
//! Real: the protocol (crate `nfs3_server`), the sockets, the files. Simulated: every fault. Some faults are in the file system that
//! answers the calls (the fields of [`Faults`] about READ and MOUNT). The others are in a relay in front of the server (the fields about
//! connections).

mod faults;
mod files;
mod fragments;
mod handles;
mod read_only;
mod relay;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nfs3_server::tcp::{NFSTcp, NFSTcpListener};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

pub use self::faults::{BitFlip, Faults};
use self::files::Files;
use self::handles::Table;
use self::relay::relay;

/// How long to wait for a port that this server had before.
const FREE_AGAIN: Duration = Duration::from_secs(10);

/// The path at which the directory is exported.
pub const EXPORT: &str = "/gild";

/// What the server has done since it was made.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub connections: u64,
    /// READ calls, including those that were answered with an error.
    pub read_calls: u64,
    /// Bytes of file data in answers.
    pub bytes_served: u64,
    /// The same for each file, relative to the exported directory.
    pub bytes_by_file: BTreeMap<PathBuf, u64>,
    /// The largest READ asked for.
    pub largest_read: u32,
}

/// What a restart does to the file handles the clients hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handles {
    /// They stay good.
    Kept,
    /// They are stale.
    Stale,
}

/// A read-only server of one directory. Dropping it stops it.
pub struct NfsServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    generation: u64,
    running: Option<Runtime>,
}

impl NfsServer {
    /// Serves `directory` on 127.0.0.1. Port 0 lets the system choose one.
    pub fn start(directory: &Path, port: u16) -> Result<Self> {
        Self::start_at(directory, SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Serves `directory` on another address.
    pub fn start_at(directory: &Path, address: SocketAddr) -> Result<Self> {
        let directory = directory
            .canonicalize()
            .with_context(|| format!("exporting {}", directory.display()))?;
        let mut server = Self {
            shared: Arc::new(Shared::new(directory)),
            address,
            generation: 1,
            running: None,
        };
        server.run()?;
        Ok(server)
    }

    /// The port of the NFS and MOUNT services.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The share's address as this machine sees it.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at("127.0.0.1")
    }

    /// The share's address for a reader that reaches this machine by another address, such as 10.0.2.2 in QEMU's user-mode network.
    #[must_use]
    pub fn url_at(&self, host: &str) -> String {
        format!("nfs://{host}:{}{EXPORT}", self.port())
    }

    /// Changes the faults, from the next call on.
    pub fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.shared.faults());
    }

    /// The faults as they are now. Faults with a number have been counted down.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.shared.faults().clone()
    }

    /// What has been done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters().clone()
    }

    /// Closes the port and all connections.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.running.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }

    /// Starts again on the same port. For a moment a connection of another program may have that port.
    pub fn restart(&mut self, handles: Handles) -> Result<()> {
        self.stop();
        if handles == Handles::Stale {
            self.generation += 1;
        }
        let end = Instant::now() + FREE_AGAIN;
        loop {
            match self.run() {
                Err(error) if is_in_use(&error) && Instant::now() < end => {
                    thread::sleep(Duration::from_millis(50));
                }
                done => return done,
            }
        }
    }

    fn run(&mut self) -> Result<()> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("nfs-server")
            .enable_all()
            .build()
            .context("starting the runtime of the NFS server")?;
        let shared = Arc::clone(&self.shared);
        let generation = self.generation;
        let wanted = self.address;
        self.address = runtime
            .block_on(serve(shared, wanted, generation))
            .with_context(|| format!("serving NFS on {wanted}"))?;
        self.running = Some(runtime);
        Ok(())
    }
}

fn is_in_use(error: &anyhow::Error) -> bool {
    let error = error.root_cause().downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

impl Drop for NfsServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts the server on a separate port and the relay on `address`.
async fn serve(
    shared: Arc<Shared>,
    address: SocketAddr,
    generation: u64,
) -> std::io::Result<SocketAddr> {
    let files = Files(Arc::clone(&shared));
    let mut server = NFSTcpListener::bind_with_generation("127.0.0.1:0", files, generation).await?;
    server.with_export_name(EXPORT);
    let behind = SocketAddr::from(([127, 0, 0, 1], server.get_listen_port()));
    tokio::spawn(async move { server.handle_forever().await });

    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            shared.counters().connections += 1;
            if !shared.faults().close_on_accept {
                tokio::spawn(relay(Arc::clone(&shared), client, behind));
            }
        }
    });
    Ok(address)
}

/// What all connections and all runs of the server share.
struct Shared {
    faults: Mutex<Faults>,
    counters: Mutex<Counters>,
    handles: Mutex<Table>,
}

impl Shared {
    fn new(directory: PathBuf) -> Self {
        Self {
            faults: Mutex::default(),
            counters: Mutex::default(),
            handles: Mutex::new(Table::new(directory)),
        }
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counters(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handles(&self) -> MutexGuard<'_, Table> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
