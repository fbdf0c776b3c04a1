//! A published directory on one server, or the same one on several.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gild_card_format::ServerUrl;
use gild_http::Access;
use gild_source::{Options, Patience, Stats, Trouble, persist};
use log::warn;

use crate::place::Place;
use crate::{File, ShareError};

/// After this time the first server is tried again, though another one answers.
const LOOK_BACK: Duration = Duration::from_mins(1);

/// A published directory on one server, or the same one on several.
#[derive(Clone)]
pub struct Share {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub places: Vec<Place>,
    patience: Arc<dyn Patience>,
    current: Mutex<Current>,
}

/// The server that is read from, until it fails.
#[derive(Clone, Copy)]
struct Current {
    index: usize,
    since: Instant,
}

/// With one server among several: the next one is asked instead of waiting.
struct NoWait(Arc<dyn Patience>);

impl Patience for NoWait {
    /// A server that ended a connection may be there: it is asked once more, on another one.
    fn wait(&self, attempt: u32, trouble: &dyn Trouble) -> bool {
        // A round of servers that are gone takes a while.
        self.0.waiting(&trouble, Duration::ZERO);
        attempt == 1 && trouble.is_cut_off()
    }

    fn waiting(&self, server: &dyn fmt::Display, silent: Duration) {
        self.0.waiting(server, silent);
    }

    fn is_over(&self) -> bool {
        self.0.is_over()
    }

    fn got_on(&self) {
        self.0.got_on();
    }
}

impl Share {
    /// The directories of the same content on these servers. Nothing has been asked of them yet.
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
                current: Mutex::new(Current {
                    index: 0,
                    since: Instant::now(),
                }),
            }),
        }
    }

    /// Does the work with one server after another, until one has done it or the patience is over. One call of `work` reads
    /// everything that belongs together, such as a manifest and its signature, so that it comes from one server.
    pub fn on_one<T>(
        &self,
        mut work: impl FnMut(&Place) -> Result<T, ShareError>,
    ) -> Result<T, ShareError> {
        self.inner.any(|_, place| work(place))
    }

    /// Reads a whole file of at most `limit` bytes.
    pub fn read_file(&self, name: &str, limit: u64) -> Result<Vec<u8>, ShareError> {
        self.on_one(|place| place.read_file(name, limit))
    }

    /// Opens a file of this size by its path inside the directory.
    pub fn open(&self, name: &str, size: u64) -> Result<File, ShareError> {
        File::open(Arc::clone(&self.inner), name, size)
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
            // A server that failed a moment ago is asked only if all others did, too.
            let is_any_fresh = self.places.iter().any(|place| place.rests(false).is_none());
            let first = self.first();
            let mut errors = Vec::new();
            for turn in 0..self.places.len() {
                let index = (first + turn) % self.places.len();
                let place = &self.places[index];
                if let Some(rests) = place.rests(!is_any_fresh) {
                    errors.push(rests);
                    continue;
                }
                match work(index, place) {
                    Ok(output) => {
                        place.is_well();
                        self.goes_on_with(index, &errors);
                        return Ok(output);
                    }
                    Err(error) => {
                        place.rest_after(&error);
                        errors.push(error);
                    }
                }
            }
            Err(ShareError::All(errors))
        })
    }

    /// Asks another server from now on, if there is one.
    pub fn distrust(&self) {
        let current = self.current().index;
        let next = (current + 1) % self.places.len();
        if next != current {
            let from = self.places[current].url();
            warn!(
                "{from} sent wrong bytes; going on with {}",
                self.places[next].url()
            );
            self.set(next);
        }
    }

    /// The server that is asked first.
    fn first(&self) -> usize {
        let mut current = self.current();
        if current.index != 0 && current.since.elapsed() >= LOOK_BACK {
            // Once: if it fails, the other one goes on for as long again.
            current.since = Instant::now();
            return 0;
        }
        current.index
    }

    fn goes_on_with(&self, index: usize, errors: &[ShareError]) {
        if self.current().index == index {
            return;
        }
        let url = self.places[index].url();
        match errors.first() {
            Some(error) => warn!("{error}; going on with {url}"),
            None => warn!("going on with {url}"),
        }
        self.set(index);
    }

    fn set(&self, index: usize) {
        *self.current() = Current {
            index,
            since: Instant::now(),
        };
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = self
            .inner
            .places
            .iter()
            .map(|place| place.url().to_string());
        f.debug_list().entries(urls).finish()
    }
}
