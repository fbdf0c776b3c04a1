//! One server, by the protocol that it speaks.

use std::sync::{Arc, Mutex, PoisonError};

use gild_card_format::ServerUrl;
use gild_http::Access;
use gild_source::{Options, Patience, Stats};

use crate::ShareError;

/// One server, which is connected when it is first needed.
pub struct Place {
    pub url: ServerUrl,
    access: Access,
    options: Options,
    patience: Arc<dyn Patience>,
    connected: Mutex<Option<Arc<Connected>>>,
}

pub enum Connected {
    Nfs(gild_nfs::Share),
    Http(gild_http::Share),
}

/// A file on one server.
pub enum PlaceFile {
    Nfs(gild_nfs::File),
    Http(gild_http::File),
}

impl Place {
    pub fn new(
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
        }
    }

    pub fn read_file(&self, name: &str, limit: u64) -> Result<Vec<u8>, ShareError> {
        Ok(match &*self.connected()? {
            Connected::Nfs(share) => share.read_file(name, limit)?,
            Connected::Http(share) => share.read_file(name, limit)?,
        })
    }

    pub fn open(&self, name: &str) -> Result<PlaceFile, ShareError> {
        Ok(match &*self.connected()? {
            Connected::Nfs(share) => PlaceFile::Nfs(share.open(name)?),
            Connected::Http(share) => PlaceFile::Http(share.open(name)?),
        })
    }

    pub fn stats(&self) -> Stats {
        let connected = self
            .connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match connected.as_deref() {
            Some(Connected::Nfs(share)) => share.stats(),
            Some(Connected::Http(share)) => share.stats(),
            None => Stats::default(),
        }
    }

    /// Threads that need it at once connect it once.
    fn connected(&self) -> Result<Arc<Connected>, ShareError> {
        let mut place = self
            .connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(connected) = &*place {
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
        Ok(Arc::clone(place.insert(Arc::new(connected))))
    }
}

impl PlaceFile {
    pub fn size(&self) -> u64 {
        match self {
            Self::Nfs(file) => file.size(),
            Self::Http(file) => file.size(),
        }
    }

    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ShareError> {
        match self {
            Self::Nfs(file) => file.read_exact_at(buffer, offset)?,
            Self::Http(file) => file.read_exact_at(buffer, offset)?,
        }
        Ok(())
    }
}
