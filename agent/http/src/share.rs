//! A directory on a web server.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gild_card_format::HttpUrl;
use gild_source::{Options, Patience, Slots, Stats, check_name, persist};

use crate::access::Access;
use crate::wire::{Question, Wire};
use crate::{At, File, HttpError, answer};

/// A directory on a web server.
pub struct Share {
    inner: Arc<Inner>,
}

/// What a share and its open files have in common.
pub(crate) struct Inner {
    url: HttpUrl,
    wires: Slots<Wire>,
    patience: Arc<dyn Patience>,
    bytes_read: AtomicU64,
    read_calls: AtomicU64,
    lost: AtomicU64,
}

impl Inner {
    pub fn count_read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        self.read_calls.fetch_add(1, Ordering::Relaxed);
    }

    pub fn patience(&self) -> &dyn Patience {
        &*self.patience
    }

    /// Does `work` on a connection, as often as it takes and the patience lasts.
    pub fn run<T>(
        &self,
        mut work: impl FnMut(&Wire) -> Result<T, HttpError>,
    ) -> Result<T, HttpError> {
        persist(&*self.patience, || {
            let mut wire = self.wires.lease();
            let result = work(&wire);
            if result.is_err() {
                wire.fail();
            }
            if let Err(HttpError::Lost { .. }) = &result {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
            result
        })
    }
}

impl Share {
    /// A directory. Nothing has been asked of it yet.
    pub fn new(
        url: &HttpUrl,
        access: &Access,
        options: Options,
        patience: Arc<dyn Patience>,
    ) -> Result<Self, HttpError> {
        let wires: Vec<Wire> = (0..options.connections.max(1))
            .map(|_| Wire::new(access, options))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            inner: Arc::new(Inner {
                url: url.clone(),
                wires: Slots::new(wires),
                patience,
                bytes_read: AtomicU64::new(0),
                read_calls: AtomicU64::new(0),
                lost: AtomicU64::new(0),
            }),
        })
    }

    /// Opens a file by its path inside the share.
    pub fn open(&self, name: &str) -> Result<File, HttpError> {
        File::open(Arc::clone(&self.inner), self.url_of(name)?)
    }

    /// Reads a whole file of at most `limit` bytes.
    pub fn read_file(&self, name: &str, limit: u64) -> Result<Vec<u8>, HttpError> {
        let url = self.url_of(name)?;
        let at = At::reading(&url);
        let bytes = self.inner.run(|wire| {
            let question = Question {
                at: &at,
                url: url.url(),
                known: None,
                range: None,
                version: None,
            };
            let mut answer = wire.ask(&question, self.inner.patience())?;
            answer::whole(answer.response.status(), answer.response.headers(), &at)?;
            let mut bytes = Vec::new();
            while let Some(more) = wire.more(&mut answer, &at, self.inner.patience())? {
                bytes.extend_from_slice(more.as_ref());
                if bytes.len() as u64 > limit {
                    let at = at.clone();
                    return Err(HttpError::TooLarge { at, limit });
                }
                self.inner.patience().got_on();
            }
            Ok(bytes)
        })?;
        self.inner.count_read(bytes.len() as u64);
        Ok(bytes)
    }

    /// What has been done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            bytes_read: self.inner.bytes_read.load(Ordering::Relaxed),
            read_calls: self.inner.read_calls.load(Ordering::Relaxed),
            reconnects: self.inner.lost.load(Ordering::Relaxed),
        }
    }

    fn url_of(&self, name: &str) -> Result<HttpUrl, HttpError> {
        if check_name(name) {
            return Ok(self.inner.url.join(name));
        }
        Err(HttpError::Name {
            name: name.to_owned(),
        })
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share")
            .field("url", &self.inner.url.to_string())
            .finish_non_exhaustive()
    }
}
