//! An NFSv3 server inside this process, whose faults are chosen at run time.
//!
//! Real: the protocol (crate `nfs3_server`), the sockets, the files. Simulated: every fault. They
//! sit in two places: in the file system that answers the calls ([`Faults`], the fields about
//! READ and MOUNT), and in a relay in front of the server that passes the bytes on (the fields
//! about connections).

mod fragments;
mod read_only;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, Metadata};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::fragments::Fragmenter;
use anyhow::{Context, Result};
use nfs3_server::fs_util::metadata_to_fattr3;
use nfs3_server::nfs3_types::nfs3::{
    FSINFO3resok, fattr3, filename3, nfspath3, nfsstat3, nfstime3, post_op_attr,
};
use nfs3_server::nfs3_types::rpc::auth_unix;
use nfs3_server::tcp::{NFSTcp, NFSTcpListener};
use nfs3_server::vfs::{
    DirEntryPlus, FileHandleU64, NextResult, NfsReadFileSystem, ReadDirPlusIterator,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// The path at which the directory is exported.
pub const EXPORT: &str = "/gild";

/// What the server does wrong. The default is nothing.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
pub struct Faults {
    /// How long each READ takes.
    pub read_delay: Duration,
    /// The most bytes that a READ brings.
    pub short_reads: Option<u32>,
    /// The next READs are answered with these errors, one each.
    pub read_errors: VecDeque<nfsstat3>,
    /// Bits that arrive wrong.
    pub flips: Vec<BitFlip>,
    /// So many READs bring four bytes more than were asked for.
    pub oversized_reads: u32,
    /// The read size that FSINFO names, when it is not 1 MiB.
    pub read_size: Option<u32>,
    /// Answers come without the attributes of the file, as the protocol allows.
    pub no_attributes: bool,
    /// So often the server does not know the attributes of a file or folder. A LOOKUP asks twice.
    pub missing_attributes: u32,
    /// Only the export itself can be mounted, not a directory below it.
    pub only_whole_export: bool,
    /// So many mounts are refused.
    pub refused_mounts: u32,
    /// No caller is good enough: every call is rejected.
    pub refuse_callers: bool,
    /// Answers are kept back: they come when this is over.
    pub held: bool,
    /// Answers come in fragments of so many bytes, with an empty one first.
    pub fragments: Option<usize>,
    /// Answers stop: connections are accepted, and nothing comes back.
    pub silent: bool,
    /// A connection is closed once so many more bytes of answers have been sent, on all
    /// connections together. Then the fault is over.
    pub close_after: Option<u64>,
    /// Connections are closed as soon as they are accepted. For refused ones, stop the server.
    pub close_on_accept: bool,
}

/// One bit of a file that arrives wrong in so many READs.
#[derive(Clone, Debug)]
pub struct BitFlip {
    /// The file, relative to the exported directory.
    pub file: PathBuf,
    /// The byte in the file.
    pub offset: u64,
    /// The bit in the byte, 0 to 7.
    pub bit: u8,
    /// In how many READs that cover the byte.
    pub times: u32,
}

/// What the server has done since it was made.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub connections: u64,
    /// READ calls, with those that were answered with an error.
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

    /// The share's address for one who reaches this machine by another address, as the guest of
    /// QEMU's user-mode network does by 10.0.2.2.
    #[must_use]
    pub fn url_at(&self, host: &str) -> String {
        format!("nfs://{host}:{}{EXPORT}", self.port())
    }

    /// Changes the faults, from the next call on.
    pub fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.shared.faults());
    }

    /// The faults as they are now: the ones that are counted have been counted down.
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

    /// Starts again, on the same port.
    pub fn restart(&mut self, handles: Handles) -> Result<()> {
        self.stop();
        if handles == Handles::Stale {
            self.generation += 1;
        }
        self.run()
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

impl Drop for NfsServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts the server on a port of its own and the relay on `address`.
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

/// Passes bytes between a client and the server until either closes or a fault cuts the line.
async fn relay(shared: Arc<Shared>, client: TcpStream, behind: SocketAddr) -> std::io::Result<()> {
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

impl Faults {
    /// How many of the next bytes of answers to send, and whether to close then.
    fn answer(&mut self, length: usize) -> (usize, bool) {
        if self.silent {
            return (0, false);
        }
        let Some(left) = self.close_after else {
            return (length, false);
        };
        let after = left.checked_sub(length as u64);
        self.close_after = after;
        match after {
            Some(_) => (length, false),
            None => (usize::try_from(left).unwrap_or(length), true),
        }
    }
}

/// The handle of the exported directory. The others count from 1, and 0 is reserved.
const ROOT: u64 = u64::MAX;

/// What the calls of all connections and all runs of the server have in common.
struct Shared {
    directory: PathBuf,
    faults: Mutex<Faults>,
    counters: Mutex<Counters>,
    handles: Mutex<Vec<Inode>>,
}

/// The file behind a handle. Like a real server's, a handle means the file and not its name: it is
/// stale when another file has taken the name.
#[derive(Clone, PartialEq, Eq)]
struct Inode {
    path: PathBuf,
    device: u64,
    number: u64,
}

impl Inode {
    fn new(path: PathBuf, metadata: &Metadata) -> Self {
        Self {
            path,
            device: metadata.dev(),
            number: metadata.ino(),
        }
    }

    fn metadata(&self) -> Result<Metadata, nfsstat3> {
        let metadata = fs::symlink_metadata(&self.path).map_err(|_| nfsstat3::NFS3ERR_STALE)?;
        let same = metadata.dev() == self.device && metadata.ino() == self.number;
        same.then_some(metadata).ok_or(nfsstat3::NFS3ERR_STALE)
    }
}

impl Shared {
    fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            faults: Mutex::default(),
            counters: Mutex::default(),
            handles: Mutex::default(),
        }
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counters(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handle of a path; the same file has the same handle for as long as this server lives.
    fn handle_of(&self, path: PathBuf) -> Result<FileHandleU64, nfsstat3> {
        let metadata = fs::symlink_metadata(&path).map_err(|_| nfsstat3::NFS3ERR_NOENT)?;
        let inode = Inode::new(path, &metadata);
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let index = handles.iter().position(|known| *known == inode);
        let index = index.unwrap_or_else(|| {
            handles.push(inode);
            handles.len() - 1
        });
        Ok(FileHandleU64::new(index as u64 + 1))
    }

    fn inode(&self, handle: FileHandleU64) -> Result<Inode, nfsstat3> {
        let index = match handle.as_u64() {
            ROOT => {
                let path = self.directory.clone();
                let metadata = fs::metadata(&path).map_err(|_| nfsstat3::NFS3ERR_STALE)?;
                return Ok(Inode::new(path, &metadata));
            }
            number => usize::try_from(number - 1).map_err(|_| nfsstat3::NFS3ERR_BADHANDLE)?,
        };
        let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles
            .get(index)
            .cloned()
            .ok_or(nfsstat3::NFS3ERR_BADHANDLE)
    }

    fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.directory).unwrap_or(path)
    }
}

/// The file system that answers the calls.
struct Files(Arc<Shared>);

impl NfsReadFileSystem for Files {
    type Handle = FileHandleU64;

    fn root_dir(&self) -> FileHandleU64 {
        FileHandleU64::new(ROOT)
    }

    fn authorize(&self, _: Option<&auth_unix>) -> bool {
        !self.0.faults().refuse_callers
    }

    async fn lookup(
        &self,
        directory: &FileHandleU64,
        name: &filename3<'_>,
    ) -> Result<FileHandleU64, nfsstat3> {
        let directory = self.0.inode(*directory)?;
        if !directory.metadata()?.is_dir() {
            return Err(nfsstat3::NFS3ERR_NOTDIR);
        }
        let name: &[u8] = name.as_ref();
        if name == b".." || name.contains(&b'/') {
            return Err(nfsstat3::NFS3ERR_NOENT);
        }
        self.0
            .handle_of(directory.path.join(std::ffi::OsStr::from_bytes(name)))
    }

    async fn lookup_by_path(&self, path: &str) -> Result<FileHandleU64, nfsstat3> {
        {
            let mut faults = self.0.faults();
            if faults.only_whole_export && !path.is_empty() {
                return Err(nfsstat3::NFS3ERR_ACCES);
            }
            if faults.refused_mounts > 0 {
                faults.refused_mounts -= 1;
                return Err(nfsstat3::NFS3ERR_ACCES);
            }
        }
        let mut handle = self.root_dir();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            handle = self.lookup(&handle, &name.as_bytes().into()).await?;
        }
        Ok(handle)
    }

    async fn getattr(&self, handle: &FileHandleU64) -> Result<fattr3, nfsstat3> {
        {
            let mut faults = self.0.faults();
            let is_missing = faults.no_attributes || faults.missing_attributes > 0;
            faults.missing_attributes = faults.missing_attributes.saturating_sub(1);
            if is_missing {
                return Err(nfsstat3::NFS3ERR_NOTSUPP);
            }
        }
        let metadata = self.0.inode(*handle)?.metadata()?;
        Ok(metadata_to_fattr3(handle.as_u64(), &metadata))
    }

    async fn read(
        &self,
        handle: &FileHandleU64,
        offset: u64,
        count: u32,
    ) -> Result<(Vec<u8>, bool), nfsstat3> {
        let (delay, error, count, extra) = {
            let mut faults = self.0.faults();
            let extra = faults.oversized_reads.min(1);
            faults.oversized_reads -= extra;
            let limit = faults.short_reads.unwrap_or(u32::MAX);
            let error = faults.read_errors.pop_front();
            (faults.read_delay, error, count.min(limit), extra * 4)
        };
        {
            let mut counters = self.0.counters();
            counters.read_calls += 1;
            counters.largest_read = counters.largest_read.max(count);
        }
        tokio::time::sleep(delay).await;
        if let Some(error) = error {
            return Err(error);
        }
        let inode = self.0.inode(*handle)?;
        let size = inode.metadata()?.len();
        let length = size.saturating_sub(offset).min(u64::from(count + extra));
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        fs::File::open(&inode.path)
            .and_then(|file| file.read_exact_at(&mut bytes, offset))
            .map_err(|_| nfsstat3::NFS3ERR_IO)?;
        let file = self.0.relative(&inode.path);
        flip_bits(&mut self.0.faults().flips, file, offset, &mut bytes);
        let mut counters = self.0.counters();
        counters.bytes_served += length;
        *counters.bytes_by_file.entry(file.to_owned()).or_default() += length;
        Ok((bytes, offset + length >= size))
    }

    /// Clients of this server know the names they want.
    async fn readdirplus(
        &self,
        _: &FileHandleU64,
        _: u64,
    ) -> Result<impl ReadDirPlusIterator<FileHandleU64>, nfsstat3> {
        Err::<NoEntries, _>(nfsstat3::NFS3ERR_NOTSUPP)
    }

    async fn readlink(&self, handle: &FileHandleU64) -> Result<nfspath3<'_>, nfsstat3> {
        let target =
            fs::read_link(self.0.inode(*handle)?.path).map_err(|_| nfsstat3::NFS3ERR_INVAL)?;
        Ok(target.as_os_str().as_bytes().to_vec().into())
    }

    async fn fsinfo(&self, root: &FileHandleU64) -> Result<FSINFO3resok, nfsstat3> {
        let size = self.0.faults().read_size.unwrap_or(1 << 20);
        Ok(FSINFO3resok {
            obj_attributes: post_op_attr::Some(self.getattr(root).await?),
            rtmax: size,
            rtpref: size,
            rtmult: 1,
            wtmax: size,
            wtpref: size,
            wtmult: 1,
            dtpref: size,
            maxfilesize: u64::MAX,
            time_delta: nfstime3 {
                seconds: 0,
                nseconds: 1,
            },
            properties: 0,
        })
    }
}

struct NoEntries;

impl ReadDirPlusIterator<FileHandleU64> for NoEntries {
    async fn next(&mut self) -> NextResult<DirEntryPlus<FileHandleU64>> {
        NextResult::Eof
    }
}

fn flip_bits(flips: &mut [BitFlip], file: &Path, start: u64, bytes: &mut [u8]) {
    for flip in flips
        .iter_mut()
        .filter(|flip| flip.file == file && flip.times > 0)
    {
        let index = flip
            .offset
            .checked_sub(start)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(byte) = index.and_then(|index| bytes.get_mut(index)) {
            *byte ^= 1 << flip.bit;
            flip.times -= 1;
        }
    }
}
