//! The file system that answers the calls.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nfs3_server::fs_util::metadata_to_fattr3;
use nfs3_server::nfs3_types::nfs3::{
    FSINFO3resok, fattr3, filename3, nfspath3, nfsstat3, nfstime3, post_op_attr,
};
use nfs3_server::nfs3_types::rpc::auth_unix;
use nfs3_server::vfs::{
    DirEntryPlus, FileHandleU64, NextResult, NfsReadFileSystem, ReadDirPlusIterator,
};

use super::Shared;
use super::handles::ROOT;

/// The file system that answers the calls.
pub struct Files(pub Arc<Shared>);

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
        let directory = self.0.handles().inode(*directory)?;
        if !directory.metadata()?.is_dir() {
            return Err(nfsstat3::NFS3ERR_NOTDIR);
        }
        let name: &[u8] = name.as_ref();
        if name == b".." || name.contains(&b'/') {
            return Err(nfsstat3::NFS3ERR_NOENT);
        }
        self.0
            .handles()
            .of(directory.path.join(std::ffi::OsStr::from_bytes(name)))
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
        let metadata = self.0.handles().inode(*handle)?.metadata()?;
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
        let inode = self.0.handles().inode(*handle)?;
        let size = inode.metadata()?.len();
        let length = size.saturating_sub(offset).min(u64::from(count + extra));
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        fs::File::open(&inode.path)
            .and_then(|file| file.read_exact_at(&mut bytes, offset))
            .map_err(|_| nfsstat3::NFS3ERR_IO)?;
        let file = self.0.handles().relative(&inode.path).to_owned();
        self.0.faults().flip_bits(&file, offset, &mut bytes);
        let mut counters = self.0.counters();
        counters.bytes_served += length;
        *counters.bytes_by_file.entry(file).or_default() += length;
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
        let target = fs::read_link(self.0.handles().inode(*handle)?.path)
            .map_err(|_| nfsstat3::NFS3ERR_INVAL)?;
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
