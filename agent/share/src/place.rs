//! One server, with its protocol.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gild_card_format::ServerUrl;
use gild_faults::{Fault, HasFault};
use gild_http::Access;
use gild_source::{Options, Patience, Stats, Trouble};

use crate::ShareError;

/// How long a server that failed is left alone while others may answer.
const REST: Duration = Duration::from_secs(1);

/// One server, which is connected when it is first needed.
pub struct Place {
    url: ServerUrl,
    access: Access,
    options: Options,
    patience: Arc<dyn Patience>,
    connected: Mutex<Option<Arc<Connected>>>,
    rest: Mutex<Option<Rest>>,
}

/// A server is left alone for a while.
struct Rest {
    until: Instant,
    /// The server asked for it.
    is_asked: bool,
    reason: String,
    fault: Fault,
}

enum Connected {
    Nfs(gild_nfs::Share),
    Http(gild_http::Share),
}

/// A file on one server.
pub enum PlaceFile {
    Nfs(gild_nfs::File),
    Http(gild_http::File),
}

impl Place {
    pub(crate) fn new(
        url: ServerUrl,
        access: Access,
        options: Options,
        patience: Arc<dyn Patience>,
    ) -> Self {
        Self {
            url,
            access,
            options,
            patience,
            connected: Mutex::new(None),
            rest: Mutex::new(None),
        }
    }

    /// The directory there.
    #[must_use]
    pub fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Reads a whole file of at most `limit` bytes.
    pub fn read_file(&self, name: &str, limit: u64) -> Result<Vec<u8>, ShareError> {
        Ok(match &*self.connected()? {
            Connected::Nfs(share) => share.read_file(name, limit)?,
            Connected::Http(share) => share.read_file(name, limit)?,
        })
    }

    /// Opens a file that must have this size.
    pub(crate) fn open(&self, name: &str, size: u64) -> Result<PlaceFile, ShareError> {
        let file = match &*self.connected()? {
            Connected::Nfs(share) => PlaceFile::Nfs(share.open(name)?),
            Connected::Http(share) => PlaceFile::Http(share.open(name)?),
        };
        let found = match &file {
            PlaceFile::Nfs(file) => file.size(),
            PlaceFile::Http(file) => file.size(),
        };
        if found == size {
            return Ok(file);
        }
        Err(ShareError::OtherFile {
            name: name.to_owned(),
            server: self.url.to_string(),
            found,
            wanted: size,
        })
    }

    pub(crate) fn stats(&self) -> Stats {
        match lock(&self.connected).as_deref() {
            Some(Connected::Nfs(share)) => share.stats(),
            Some(Connected::Http(share)) => share.stats(),
            None => Stats::default(),
        }
    }

    /// The trouble for which this server is left alone, by its own wish alone or not.
    pub(crate) fn rests(&self, only_asked: bool) -> Option<ShareError> {
        let rest = lock(&self.rest);
        let Rest {
            until,
            is_asked,
            reason,
            fault,
        } = rest.as_ref()?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero() && (*is_asked || !only_asked)).then(|| ShareError::Rests {
            reason: reason.clone(),
            fault: *fault,
            rest: left,
        })
    }

    /// Leaves it alone after this trouble.
    pub(crate) fn rest_after(&self, trouble: &ShareError) {
        let asked = trouble.least_wait();
        let until = Instant::now().checked_add(asked.max(REST));
        *lock(&self.rest) = until.map(|until| Rest {
            until,
            is_asked: !asked.is_zero(),
            reason: trouble.to_string(),
            fault: trouble.fault(),
        });
    }

    pub(crate) fn is_well(&self) {
        *lock(&self.rest) = None;
    }

    /// Not under the lock: a server that is silent holds up those alone who ask it.
    fn connected(&self) -> Result<Arc<Connected>, ShareError> {
        if let Some(connected) = &*lock(&self.connected) {
            return Ok(Arc::clone(connected));
        }
        let patience = Arc::clone(&self.patience);
        let connected = match &self.url {
            ServerUrl::Nfs(url) => {
                Connected::Nfs(gild_nfs::Share::connect(url, self.options, patience)?)
            }
            ServerUrl::Http(url) => Connected::Http(gild_http::Share::new(
                url,
                &self.access,
                self.options,
                patience,
            )?),
        };
        let mut place = lock(&self.connected);
        Ok(Arc::clone(place.get_or_insert_with(|| Arc::new(connected))))
    }
}

impl PlaceFile {
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ShareError> {
        match self {
            Self::Nfs(file) => file.read_exact_at(buffer, offset)?,
            Self::Http(file) => file.read_exact_at(buffer, offset)?,
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
