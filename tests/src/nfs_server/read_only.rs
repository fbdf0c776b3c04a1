//! The writing half of a file system, which refuses everything.
//!
//! `nfs3_server` has an adapter for this. But it ignores what the file system says about its read size and how it finds a mounted
//! directory.

use nfs3_server::nfs3_types::nfs3::{
    createverf3, fattr3, filename3, nfspath3, nfsstat3, sattr3, stable_how,
};
use nfs3_server::vfs::{FileHandleU64, NfsFileSystem, VFSCapabilities};

use super::files::Files;

const REFUSED: nfsstat3 = nfsstat3::NFS3ERR_ROFS;

impl NfsFileSystem for Files {
    fn capabilities(&self) -> VFSCapabilities {
        VFSCapabilities::ReadOnly
    }

    async fn setattr(&self, _: &FileHandleU64, _: sattr3) -> Result<fattr3, nfsstat3> {
        Err(REFUSED)
    }

    async fn write(
        &self,
        _: &FileHandleU64,
        _: u64,
        _: &[u8],
        _: stable_how,
    ) -> Result<(fattr3, stable_how), nfsstat3> {
        Err(REFUSED)
    }

    async fn create(
        &self,
        _: &FileHandleU64,
        _: &filename3<'_>,
        _: sattr3,
    ) -> Result<(FileHandleU64, fattr3), nfsstat3> {
        Err(REFUSED)
    }

    async fn create_exclusive(
        &self,
        _: &FileHandleU64,
        _: &filename3<'_>,
        _: createverf3,
    ) -> Result<FileHandleU64, nfsstat3> {
        Err(REFUSED)
    }

    async fn mkdir(
        &self,
        _: &FileHandleU64,
        _: &filename3<'_>,
    ) -> Result<(FileHandleU64, fattr3), nfsstat3> {
        Err(REFUSED)
    }

    async fn remove(&self, _: &FileHandleU64, _: &filename3<'_>) -> Result<(), nfsstat3> {
        Err(REFUSED)
    }

    async fn rename<'a>(
        &self,
        _: &FileHandleU64,
        _: &filename3<'a>,
        _: &FileHandleU64,
        _: &filename3<'a>,
    ) -> Result<(), nfsstat3> {
        Err(REFUSED)
    }

    async fn symlink<'a>(
        &self,
        _: &FileHandleU64,
        _: &filename3<'a>,
        _: &nfspath3<'a>,
        _: &sattr3,
    ) -> Result<(FileHandleU64, fattr3), nfsstat3> {
        Err(REFUSED)
    }

    async fn commit(&self, _: &FileHandleU64, _: u64, _: u32) -> Result<(), nfsstat3> {
        Err(REFUSED)
    }
}
