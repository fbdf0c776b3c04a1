//! An open file.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gild_source::OutOfRange;
use nfs3_types::nfs3::nfs_fh3;

use crate::connection::{Connection, Server};
use crate::share::Inner;
use crate::{At, NfsError};

/// A file on a share. Any number of threads may read it at once.
pub struct File {
    share: Arc<Inner>,
    name: String,
    at: At,
    size: u64,
    /// `None` after the server has disowned it, until the file is found again.
    handle: Mutex<Option<nfs_fh3>>,
}

impl File {
    pub(crate) fn open(share: Arc<Inner>, name: &str) -> Result<Self, NfsError> {
        let found = share
            .pool
            .run(|server, connection| connection.find(server, name))?;
        let server = &share.pool.server;
        Ok(Self {
            name: name.to_owned(),
            at: server.at("reading", &server.url.path_of(name)),
            size: found.size,
            handle: Mutex::new(Some(found.handle)),
            share,
        })
    }

    /// Its length in bytes, which does not change: a file that changes can no longer be read.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills the buffer from the file.
    ///
    /// Whatever happens on the way, what has been read is not read again.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), NfsError> {
        OutOfRange::check(self.size, offset, buffer.len()).map_err(|source| {
            let at = self.at.clone();
            NfsError::OutOfRange { at, source }
        })?;
        let mut filled = 0;
        while filled < buffer.len() {
            let rest = &mut buffer[filled..];
            let position = offset + filled as u64;
            let read = self
                .share
                .pool
                .run(|server, connection| self.read_some(server, connection, rest, position))?;
            self.share.count_read(read);
            filled += read;
        }
        Ok(())
    }

    fn read_some(
        &self,
        server: &Server,
        connection: &mut Connection,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<usize, NfsError> {
        let handle = self.current_handle(server, connection)?;
        let result = connection.read(&handle, buffer, offset, self.size, &self.at);
        if let Err(error) = &result
            && error.is_stale()
        {
            *self.handle() = None;
        }
        result
    }

    fn current_handle(
        &self,
        server: &Server,
        connection: &mut Connection,
    ) -> Result<nfs_fh3, NfsError> {
        if let Some(handle) = &*self.handle() {
            return Ok(handle.clone());
        }
        let found = self.find_again(server, connection)?;
        *self.handle() = Some(found.clone());
        Ok(found)
    }

    /// The server has lost the handle: it was restarted, or the file was replaced.
    fn find_again(
        &self,
        server: &Server,
        connection: &mut Connection,
    ) -> Result<nfs_fh3, NfsError> {
        let changed = |change| NfsError::Changed {
            at: self.at.clone(),
            change,
        };
        match connection.find(server, &self.name) {
            Ok(found) if found.size == self.size => Ok(found.handle),
            Ok(found) => Err(changed(format!(
                "it had {} bytes and now has {}",
                self.size, found.size
            ))),
            Err(error) if error.is_missing() => Err(changed("it is gone".to_owned())),
            Err(error) => Err(error),
        }
    }

    fn handle(&self) -> MutexGuard<'_, Option<nfs_fh3>> {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("path", &self.at.path)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
