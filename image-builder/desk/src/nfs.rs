//! The published images over NFSv3, for clients of the flasher's kind: a read-only share whose MOUNT service is on the same port.
//! The protocol is that of the crate `nfs3_server`.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nfs3_server::fs_util::metadata_to_fattr3;
use nfs3_server::nfs3_types::nfs3::{fattr3, filename3, nfspath3, nfsstat3};
use nfs3_server::tcp::{NFSTcp, NFSTcpListener};
use nfs3_server::vfs::adapters::ReadOnlyAdapter;
use nfs3_server::vfs::{
    DirEntryPlus, FileHandleU64, NextResult, NfsReadFileSystem, ReadDirPlusIterator,
};
use tokio::task::spawn_blocking;

/// The path of the share.
pub const EXPORT: &str = "/images";
/// File handles are inode numbers, which are the same when the desk starts again.
const GENERATION: u64 = 1;
/// Images lie in folders of boards. Deeper than this nothing is looked for.
const DEPTH: usize = 4;

/// Serves the folder until the program ends. Returns the address and what serves.
pub async fn serve(
    folder: &Path,
    address: SocketAddr,
) -> io::Result<(SocketAddr, impl Future<Output = io::Result<()>> + use<>)> {
    let files = ReadOnlyAdapter::new(Files(Arc::new(Shelf::new(folder)?)));
    let mut server =
        NFSTcpListener::bind_with_generation(&address.to_string(), files, GENERATION).await?;
    server.with_export_name(EXPORT);
    let address = SocketAddr::new(server.get_listen_ip(), server.get_listen_port());
    Ok((address, async move { server.handle_forever().await }))
}

/// The files by their inode numbers.
struct Shelf {
    root: PathBuf,
    root_number: u64,
    paths: Mutex<HashMap<u64, PathBuf>>,
}

impl Shelf {
    fn new(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        Ok(Self {
            root_number: fs::metadata(&root)?.ino(),
            root,
            paths: Mutex::default(),
        })
    }

    /// The handle of a path. Symbolic links are followed here: who put them into the folder wanted that.
    fn handle(&self, path: PathBuf) -> Result<FileHandleU64, nfsstat3> {
        let number = fs::metadata(&path).map_err(|error| status(&error))?.ino();
        self.paths().insert(number, path);
        Ok(FileHandleU64::new(number))
    }

    /// The file that a handle means, and not another one that has its name by now.
    fn open(&self, handle: FileHandleU64) -> Result<(PathBuf, Metadata), nfsstat3> {
        let number = handle.as_u64();
        if number == self.root_number {
            let metadata = fs::metadata(&self.root).map_err(|error| status(&error))?;
            return Ok((self.root.clone(), metadata));
        }
        let known = self.paths().get(&number).cloned();
        let is_it = |path: PathBuf| {
            let metadata = fs::metadata(&path).ok()?;
            (metadata.ino() == number).then_some((path, metadata))
        };
        if let Some(found) = known.and_then(is_it) {
            return Ok(found);
        }
        // The desk was started again since, or the file was moved.
        let found = find(&self.root, number, DEPTH).ok_or(nfsstat3::NFS3ERR_STALE)?;
        self.paths().insert(number, found.clone());
        is_it(found).ok_or(nfsstat3::NFS3ERR_STALE)
    }

    fn paths(&self) -> std::sync::MutexGuard<'_, HashMap<u64, PathBuf>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The path with this inode number below a folder.
fn find(folder: &Path, number: u64, depth: usize) -> Option<PathBuf> {
    let entries: Vec<_> = fs::read_dir(folder).ok()?.flatten().collect();
    entries.into_iter().find_map(|entry| {
        let path = entry.path();
        let metadata = fs::metadata(&path).ok()?;
        if metadata.ino() == number && !is_hidden(entry.file_name().as_bytes()) {
            return Some(path);
        }
        (metadata.is_dir() && depth > 0)
            .then(|| find(&path, number, depth - 1))
            .flatten()
    })
}

/// Files whose names begin with a dot are half written, or locks.
fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".")
}

fn status(error: &io::Error) -> nfsstat3 {
    match error.kind() {
        io::ErrorKind::NotFound => nfsstat3::NFS3ERR_NOENT,
        io::ErrorKind::PermissionDenied => nfsstat3::NFS3ERR_ACCES,
        _ => nfsstat3::NFS3ERR_IO,
    }
}

/// The file system that answers the calls.
struct Files(Arc<Shelf>);

impl Files {
    /// Disks are waited for on a thread that may wait.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shelf) -> Result<T, nfsstat3> + Send + 'static,
    ) -> Result<T, nfsstat3> {
        let files = Arc::clone(&self.0);
        let done = spawn_blocking(move || work(&files)).await;
        done.unwrap_or(Err(nfsstat3::NFS3ERR_SERVERFAULT))
    }
}

impl NfsReadFileSystem for Files {
    type Handle = FileHandleU64;

    fn root_dir(&self) -> FileHandleU64 {
        FileHandleU64::new(self.0.root_number)
    }

    async fn lookup(
        &self,
        folder: &FileHandleU64,
        name: &filename3<'_>,
    ) -> Result<FileHandleU64, nfsstat3> {
        let (folder, name) = (*folder, name.as_ref().to_vec());
        self.on_disk(move |shelf| {
            let (folder, metadata) = shelf.open(folder)?;
            if !metadata.is_dir() {
                return Err(nfsstat3::NFS3ERR_NOTDIR);
            }
            if name.is_empty() || is_hidden(&name) || name.contains(&b'/') {
                return Err(nfsstat3::NFS3ERR_NOENT);
            }
            shelf.handle(folder.join(std::ffi::OsStr::from_bytes(&name)))
        })
        .await
    }

    async fn getattr(&self, handle: &FileHandleU64) -> Result<fattr3, nfsstat3> {
        let handle = *handle;
        self.on_disk(move |shelf| {
            let (_, metadata) = shelf.open(handle)?;
            Ok(metadata_to_fattr3(handle.as_u64(), &metadata))
        })
        .await
    }

    async fn read(
        &self,
        handle: &FileHandleU64,
        offset: u64,
        count: u32,
    ) -> Result<(Vec<u8>, bool), nfsstat3> {
        let handle = *handle;
        self.on_disk(move |shelf| {
            let (path, metadata) = shelf.open(handle)?;
            if !metadata.is_file() {
                return Err(nfsstat3::NFS3ERR_INVAL);
            }
            let length = metadata.len().saturating_sub(offset).min(count.into());
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            let file = File::open(path).map_err(|error| status(&error))?;
            file.read_exact_at(&mut bytes, offset)
                .map_err(|error| status(&error))?;
            Ok((bytes, offset + length >= metadata.len()))
        })
        .await
    }

    /// Clients of the flasher's kind know the names they want.
    async fn readdirplus(
        &self,
        _: &FileHandleU64,
        _: u64,
    ) -> Result<impl ReadDirPlusIterator<FileHandleU64>, nfsstat3> {
        Err::<NoEntries, _>(nfsstat3::NFS3ERR_NOTSUPP)
    }

    async fn readlink(&self, _: &FileHandleU64) -> Result<nfspath3<'_>, nfsstat3> {
        Err(nfsstat3::NFS3ERR_INVAL)
    }
}

struct NoEntries;

impl ReadDirPlusIterator<FileHandleU64> for NoEntries {
    async fn next(&mut self) -> NextResult<DirEntryPlus<FileHandleU64>> {
        NextResult::Eof
    }
}
