//! A published directory on one server, or the same one on several.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gild_card_format::ServerUrl;
use gild_http::Access;
use gild_source::{Options, Patience, Stats, Trouble, persist};
use log::warn;

use crate::place::Place;
use crate::{File, ShareError};

/// A published directory on one server, or the same one on several.
#[derive(Clone)]
pub struct Share {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub places: Vec<Place>,
    patience: Arc<dyn Patience>,
    /// The server that is read from, until it fails.
    current: AtomicUsize,
}

/// With one server among several: the next one is asked instead of waiting.
struct NoWait(Arc<dyn Patience>);

impl Patience for NoWait {
    fn wait(&self, _attempt: u32, _trouble: &dyn Trouble) -> bool {
        false
    }

    fn waiting(&self, silence: Duration) {
        self.0.waiting(silence);
    }

    fn got_on(&self) {
        self.0.got_on();
    }
}

impl Share {
    /// The directories of the same content on these servers, of which nothing has been asked yet.
    #[must_use]
    pub fn new(
        urls: &[ServerUrl],
        access: &Access,
        options: Options,
        patience: Arc<dyn Patience>,
    ) -> Self {
        let of_each = || -> Arc<dyn Patience> {
            let patience = Arc::clone(&patience);
            if urls.len() > 1 {
                Arc::new(NoWait(patience))
            } else {
                patience
            }
        };
        let place = |url: &ServerUrl| Place::new(url.clone(), access.clone(), options, of_each());
        Self {
            inner: Arc::new(Inner {
                places: urls.iter().map(place).collect(),
                patience,
                current: AtomicUsize::new(0),
            }),
        }
    }

    /// Reads a whole file of at most `limit` bytes.
    pub fn read_file(&self, name: &str, limit: u64) -> Result<Vec<u8>, ShareError> {
        self.inner.any(|_, place| place.read_file(name, limit))
    }

    /// Opens a file by its path inside the directory.
    pub fn open(&self, name: &str) -> Result<File, ShareError> {
        File::open(Arc::clone(&self.inner), name)
    }

    /// What has been done so far, on all servers together.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let each = self.inner.places.iter().map(Place::stats);
        each.fold(Stats::default(), |sum, one| Stats {
            bytes_read: sum.bytes_read + one.bytes_read,
            read_calls: sum.read_calls + one.read_calls,
            reconnects: sum.reconnects + one.reconnects,
        })
    }
}

impl Inner {
    /// Does the work with one server after another, until one has done it or the patience is over.
    pub fn any<T>(
        &self,
        mut work: impl FnMut(usize, &Place) -> Result<T, ShareError>,
    ) -> Result<T, ShareError> {
        if let [only] = &self.places[..] {
            return work(0, only);
        }
        persist(&*self.patience, || {
            let first = self.current.load(Ordering::Relaxed);
            let mut errors = Vec::new();
            for turn in 0..self.places.len() {
                let index = (first + turn) % self.places.len();
                match work(index, &self.places[index]) {
                    Ok(output) => {
                        self.goes_on_with(first, index, &errors);
                        return Ok(output);
                    }
                    Err(error) => errors.push(error),
                }
            }
            Err(ShareError::All(errors))
        })
    }

    /// The others ask this server first from now on, unless they have found another meanwhile.
    fn goes_on_with(&self, first: usize, index: usize, errors: &[ShareError]) {
        let changed =
            self.current
                .compare_exchange(first, index, Ordering::Relaxed, Ordering::Relaxed);
        if let (Ok(_), Some(error)) = (changed, errors.first()) {
            warn!("{error}; going on with {}", self.places[index].url);
        }
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = self.inner.places.iter().map(|place| place.url.to_string());
        f.debug_list().entries(urls).finish()
    }
}
