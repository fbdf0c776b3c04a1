//! The file system that answers the calls: one folder, read only.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::warn;
use nfs3_server::fs_util::metadata_to_fattr3;
use nfs3_server::nfs3_types::nfs3::{fattr3, filename3, nfspath3, nfsstat3};
use nfs3_server::vfs::{
    DirEntryPlus, FileHandle, NextResult, NfsReadFileSystem, ReadDirPlusIterator,
};
use tokio::task::spawn_blocking;

use crate::published::{Published, leads_out};

/// The most bytes that a READ returns. The protocol allows fewer than the client asked for.
const MOST: u32 = 1 << 20;
/// At most this many handles are remembered. A share has about a dozen files.
const KNOWN: usize = 4096;
/// How many levels of folders are searched at the start: images lie in their board's folder.
const DEPTH: usize = 2;

/// Identifies a file, not its name. If another file takes the name, it has another handle, even if it gets the same inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle([u8; 24]);

impl Handle {
    fn of(metadata: &Metadata) -> Self {
        // Publishing an image into a folder changes the folder's time. It is still the same folder, so its time does not count.
        let changed = if metadata.is_dir() {
            0
        } else {
            (metadata.ctime() << 30) ^ metadata.ctime_nsec()
        };
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&metadata.dev().to_be_bytes());
        bytes[8..16].copy_from_slice(&metadata.ino().to_be_bytes());
        bytes[16..].copy_from_slice(&changed.to_be_bytes());
        Self(bytes)
    }
}

impl FileHandle for Handle {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

/// The files by their handles, with their paths below the folder.
struct Shelf {
    published: Published,
    root_handle: Handle,
    paths: Mutex<HashMap<Handle, PathBuf>>,
}

impl Shelf {
    /// The handle of a path.
    fn handle(&self, path: PathBuf) -> io::Result<Handle> {
        let metadata = self.published.metadata(&path)?;
        let handle = Handle::of(&metadata);
        let mut paths = self.paths();
        if paths.len() >= KNOWN {
            // A client that still reads one of these files looks up its name again.
            paths.clear();
        }
        paths.insert(handle, path);
        Ok(handle)
    }

    /// Makes the handles of the files that exist at the start. Handles are the same after each start, so clients can keep theirs. A file
    /// that is published later gets its handle when a client looks up its name.
    fn know(&self, root: &Path, folder: &Path, depth: usize) {
        // What cannot be read now gets its handle later, like a file that is published later.
        let entries = fs::read_dir(root.join(folder));
        for entry in entries.into_iter().flatten().flatten() {
            let is_full = self.paths().len() >= KNOWN / 2;
            if is_full || is_hidden(entry.file_name().as_bytes()) {
                continue;
            }
            let path = folder.join(entry.file_name());
            match self.handle(path.clone()) {
                Ok(_) if depth > 0 => self.know(root, &path, depth - 1),
                Err(error) if leads_out(&error) => warn!(
                    "{} leads out of the folder, and nobody gets it; next: put the files there, or mount their folder there",
                    root.join(path).display()
                ),
                _ => (),
            }
        }
    }

    /// The path of a handle. A client that gets STALE looks up the name again.
    fn path(&self, handle: Handle) -> Result<PathBuf, nfsstat3> {
        if handle == self.root_handle {
            return Ok(PathBuf::new());
        }
        let known = self.paths().get(&handle).cloned();
        known.ok_or(nfsstat3::NFS3ERR_STALE)
    }

    fn metadata(&self, handle: Handle) -> Result<(PathBuf, Metadata), nfsstat3> {
        let path = self.path(handle)?;
        let metadata = self.published.metadata(&path);
        let metadata = metadata.map_err(|_| nfsstat3::NFS3ERR_STALE)?;
        let is_it = Handle::of(&metadata) == handle;
        is_it
            .then_some((path, metadata))
            .ok_or(nfsstat3::NFS3ERR_STALE)
    }

    fn open(&self, handle: Handle) -> Result<(File, Metadata), nfsstat3> {
        let (path, metadata) = self.metadata(handle)?;
        if !metadata.is_file() {
            return Err(nfsstat3::NFS3ERR_INVAL);
        }
        let file = self.published.open(&path);
        let file = file.map_err(|_| nfsstat3::NFS3ERR_STALE)?;
        let metadata = file.metadata().map_err(|error| status(&error))?;
        if Handle::of(&metadata) != handle {
            return Err(nfsstat3::NFS3ERR_STALE);
        }
        Ok((file, metadata))
    }

    fn paths(&self) -> MutexGuard<'_, HashMap<Handle, PathBuf>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Files whose names begin with a dot are half written, or locks.
fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".")
}

fn status(error: &io::Error) -> nfsstat3 {
    match error.kind() {
        // What lies outside does not exist for clients of this share.
        io::ErrorKind::NotFound | io::ErrorKind::CrossesDevices => nfsstat3::NFS3ERR_NOENT,
        io::ErrorKind::PermissionDenied => nfsstat3::NFS3ERR_ACCES,
        _ => nfsstat3::NFS3ERR_IO,
    }
}

/// The file system of one folder.
pub struct Files(Arc<Shelf>);

impl Files {
    /// Of this folder.
    pub fn of(root: &Path) -> io::Result<Self> {
        let published = Published::open_folder(root)?;
        let shelf = Shelf {
            root_handle: Handle::of(&published.metadata(Path::new(""))?),
            published,
            paths: Mutex::default(),
        };
        shelf.know(root, Path::new(""), DEPTH);
        Ok(Self(Arc::new(shelf)))
    }

    /// Runs the work on a thread that may block, because a disk may be slow.
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
    type Handle = Handle;

    fn root_dir(&self) -> Handle {
        self.0.root_handle
    }

    async fn lookup(&self, folder: &Handle, name: &filename3<'_>) -> Result<Handle, nfsstat3> {
        let (folder, name) = (*folder, name.as_ref().to_vec());
        self.on_disk(move |shelf| {
            let (folder, metadata) = shelf.metadata(folder)?;
            if !metadata.is_dir() {
                return Err(nfsstat3::NFS3ERR_NOTDIR);
            }
            if name.is_empty() || is_hidden(&name) || name.contains(&b'/') {
                return Err(nfsstat3::NFS3ERR_NOENT);
            }
            let path = folder.join(std::ffi::OsStr::from_bytes(&name));
            shelf.handle(path).map_err(|error| status(&error))
        })
        .await
    }

    async fn getattr(&self, handle: &Handle) -> Result<fattr3, nfsstat3> {
        let handle = *handle;
        self.on_disk(move |shelf| {
            let (_, metadata) = shelf.metadata(handle)?;
            Ok(metadata_to_fattr3(metadata.ino(), &metadata))
        })
        .await
    }

    async fn read(
        &self,
        handle: &Handle,
        offset: u64,
        count: u32,
    ) -> Result<(Vec<u8>, bool), nfsstat3> {
        let handle = *handle;
        self.on_disk(move |shelf| {
            let (file, metadata) = shelf.open(handle)?;
            let length = metadata
                .len()
                .saturating_sub(offset)
                .min(count.min(MOST).into());
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            file.read_exact_at(&mut bytes, offset)
                .map_err(|error| status(&error))?;
            Ok((bytes, offset + length >= metadata.len()))
        })
        .await
    }

    /// Clients of the flasher's kind know the names they want.
    async fn readdirplus(
        &self,
        _: &Handle,
        _: u64,
    ) -> Result<impl ReadDirPlusIterator<Handle>, nfsstat3> {
        Err::<NoEntries, _>(nfsstat3::NFS3ERR_NOTSUPP)
    }

    async fn readlink(&self, _: &Handle) -> Result<nfspath3<'_>, nfsstat3> {
        Err(nfsstat3::NFS3ERR_INVAL)
    }
}

struct NoEntries;

impl ReadDirPlusIterator<Handle> for NoEntries {
    async fn next(&mut self) -> NextResult<DirEntryPlus<Handle>> {
        NextResult::Eof
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share() -> tempfile::TempDir {
        let share = tempfile::tempdir().expect("a folder");
        fs::create_dir(share.path().join("rpi5")).expect("a folder");
        fs::write(share.path().join("rpi5/image"), "golden").expect("a file");
        share
    }

    async fn find(files: &Files, name: &str) -> Result<Handle, nfsstat3> {
        let mut handle = files.root_dir();
        for name in name.split('/') {
            handle = files.lookup(&handle, &name.as_bytes().into()).await?;
        }
        Ok(handle)
    }

    #[tokio::test]
    async fn a_client_goes_on_with_its_handles_when_the_desk_starts_again() {
        let share = share();
        let files = Files::of(share.path()).expect("a share");
        let folder = find(&files, "rpi5").await.expect("a folder");
        let image = find(&files, "rpi5/image").await.expect("a file");
        let files = Files::of(share.path()).expect("the next start");
        let read = files.read(&image, 0, 100).await.expect("the same file");
        assert_eq!(read, (b"golden".to_vec(), true));
        let name = b"image".as_slice().into();
        assert_eq!(files.lookup(&folder, &name).await.ok(), Some(image));
    }

    #[tokio::test]
    async fn another_file_of_the_name_is_stale_for_who_had_the_first() {
        let share = share();
        let image = find(&Files::of(share.path()).expect("a share"), "rpi5/image").await;
        let image = image.expect("a file");
        let other = share.path().join("rpi5/new");
        fs::write(&other, "silver").expect("a file");
        fs::rename(&other, share.path().join("rpi5/image")).expect("published");
        let files = Files::of(share.path()).expect("the next start");
        let read = files.read(&image, 0, 100).await;
        assert_eq!(read.err(), Some(nfsstat3::NFS3ERR_STALE));
    }

    #[tokio::test]
    async fn what_lies_outside_or_is_a_pipe_is_not_read() {
        let desk = tempfile::tempdir().expect("a folder");
        let images = desk.path().join("images");
        fs::create_dir(&images).expect("a folder");
        fs::write(desk.path().join("site.key"), "secret").expect("a file");
        std::os::unix::fs::symlink("../site.key", images.join("key")).expect("a link");
        std::os::unix::fs::symlink(desk.path(), images.join("all")).expect("a link");
        nix::unistd::mkfifo(&images.join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let files = Files::of(&images).expect("a share");
        for name in ["key", "all", "all/site.key"] {
            let found = find(&files, name).await;
            assert_eq!(found.err(), Some(nfsstat3::NFS3ERR_NOENT), "{name}");
        }
        let pipe = find(&files, "pipe").await.expect("a handle");
        let read = files.read(&pipe, 0, 100).await;
        assert_eq!(read.err(), Some(nfsstat3::NFS3ERR_INVAL));
    }

    #[tokio::test]
    async fn hidden_files_have_no_handle_and_a_share_of_any_size_is_served() {
        let share = share();
        fs::write(share.path().join("rpi5/.half"), "").expect("a file");
        std::os::unix::fs::symlink("..", share.path().join("rpi5/loop")).expect("a link");
        for number in 0..KNOWN {
            fs::write(share.path().join(number.to_string()), "").expect("a file");
        }
        let files = Files::of(share.path()).expect("a share");
        let known = files.0.paths().len();
        assert!(known <= KNOWN / 2 + DEPTH, "{known}");
        assert!(!files.0.paths().values().any(|path| path.ends_with(".half")));
        find(&files, "rpi5/image").await.expect("a file");
    }
}
