//! File handles.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nfs3_server::nfs3_types::nfs3::nfsstat3;
use nfs3_server::vfs::FileHandleU64;

/// The handle of the exported directory. The others count from 1, and 0 is reserved.
pub const ROOT: u64 = u64::MAX;

/// The file behind a handle. As on a real server, a handle means the file and not its name. It is stale when another file has taken the
/// name.
#[derive(Clone, PartialEq, Eq)]
pub struct Inode {
    pub path: PathBuf,
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

    /// What the file is now.
    pub fn metadata(&self) -> Result<Metadata, nfsstat3> {
        let metadata = fs::symlink_metadata(&self.path).map_err(|_| nfsstat3::NFS3ERR_STALE)?;
        let same = metadata.dev() == self.device && metadata.ino() == self.number;
        same.then_some(metadata).ok_or(nfsstat3::NFS3ERR_STALE)
    }
}

/// The handles that clients may hold.
pub struct Table {
    directory: PathBuf,
    known: Vec<Inode>,
}

impl Table {
    /// The handle of an exported directory.
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            known: Vec::new(),
        }
    }

    /// The handle of a path. The same file keeps its handle for as long as this server runs.
    pub fn of(&mut self, path: PathBuf) -> Result<FileHandleU64, nfsstat3> {
        let metadata = fs::symlink_metadata(&path).map_err(|_| nfsstat3::NFS3ERR_NOENT)?;
        let inode = Inode::new(path, &metadata);
        let index = self.known.iter().position(|known| *known == inode);
        let index = index.unwrap_or_else(|| {
            self.known.push(inode);
            self.known.len() - 1
        });
        Ok(FileHandleU64::new(index as u64 + 1))
    }

    /// The file behind a handle.
    pub fn inode(&self, handle: FileHandleU64) -> Result<Inode, nfsstat3> {
        let index = match handle.as_u64() {
            ROOT => {
                let path = self.directory.clone();
                let metadata = fs::metadata(&path).map_err(|_| nfsstat3::NFS3ERR_STALE)?;
                return Ok(Inode::new(path, &metadata));
            }
            number => usize::try_from(number - 1).map_err(|_| nfsstat3::NFS3ERR_BADHANDLE)?,
        };
        self.known
            .get(index)
            .cloned()
            .ok_or(nfsstat3::NFS3ERR_BADHANDLE)
    }

    /// A path in the exported directory, as clients know it.
    pub fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.directory).unwrap_or(path)
    }
}
