//! A directory on an NFS server.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gild_source::{Options, Patience, Stats};

use crate::connection::Server;
use crate::pool::Pool;
use crate::stream::Waits;
use crate::{File, NfsError, NfsUrl};

/// A directory on an NFS server, mounted.
pub struct Share {
    inner: Arc<Inner>,
}

/// What a share and its open files have in common.
pub(crate) struct Inner {
    pub pool: Pool,
    bytes_read: AtomicU64,
    read_calls: AtomicU64,
}

impl Inner {
    pub fn count_read(&self, bytes: usize) {
        self.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
        self.read_calls.fetch_add(1, Ordering::Relaxed);
    }
}

impl Share {
    /// Connects to the server and mounts the directory; waits for both as long as the patience
    /// lasts.
    pub fn connect(
        url: &NfsUrl,
        options: Options,
        patience: Arc<dyn Patience>,
    ) -> Result<Self, NfsError> {
        let server = Server {
            url: url.clone(),
            waits: Waits {
                connect: options.connect,
                answer: options.answer,
                patience,
            },
        };
        let inner = Inner {
            pool: Pool::new(server, options.connections),
            bytes_read: AtomicU64::new(0),
            read_calls: AtomicU64::new(0),
        };
        inner.pool.run(|_, _| Ok(()))?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Opens a file by its path inside the share.
    pub fn open(&self, name: &str) -> Result<File, NfsError> {
        check_name(name)?;
        File::open(Arc::clone(&self.inner), name)
    }

    /// Reads a whole file of at most `max_bytes`.
    ///
    /// A file that is replaced in mid-read is read again, as often as the patience allows.
    pub fn read_file(&self, name: &str, max_bytes: u64) -> Result<Vec<u8>, NfsError> {
        check_name(name)?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.read_file_once(name, max_bytes) {
                Err(error @ NfsError::Changed { .. })
                    if self.inner.pool.patience().wait(attempt, &error) => {}
                result => return result,
            }
        }
    }

    /// What has been done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            bytes_read: self.inner.bytes_read.load(Ordering::Relaxed),
            read_calls: self.inner.read_calls.load(Ordering::Relaxed),
            reconnects: self.inner.pool.lost(),
        }
    }

    fn read_file_once(&self, name: &str, limit: u64) -> Result<Vec<u8>, NfsError> {
        let file = File::open(Arc::clone(&self.inner), name)?;
        let too_large = || {
            let server = &self.inner.pool.server;
            NfsError::TooLarge {
                at: server.at("reading", &server.url.path_of(name)),
                size: file.size(),
                limit,
            }
        };
        if file.size() > limit {
            return Err(too_large());
        }
        let size = usize::try_from(file.size()).map_err(|_| too_large())?;
        let mut bytes = vec![0; size];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share")
            .field("url", &self.inner.pool.server.url.to_string())
            .finish_non_exhaustive()
    }
}

fn check_name(name: &str) -> Result<(), NfsError> {
    if gild_source::check_name(name) {
        return Ok(());
    }
    Err(NfsError::Name {
        name: name.to_owned(),
    })
}
