//! A file, on whichever server has it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gild_source::{Source, SourceError};

use crate::ShareError;
use crate::place::{Place, PlaceFile};
use crate::share::Inner;

/// An open file. Any number of threads may read it at once.
pub struct File {
    share: Arc<Inner>,
    name: String,
    size: u64,
    /// As each server has it, once it was asked.
    opened: Vec<Mutex<Option<Arc<PlaceFile>>>>,
}

impl File {
    pub(crate) fn open(share: Arc<Inner>, name: &str, size: u64) -> Result<Self, ShareError> {
        let file = Self {
            opened: share.places.iter().map(|_| Mutex::new(None)).collect(),
            name: name.to_owned(),
            size,
            share,
        };
        file.share.any(|index, place| file.on(index, place))?;
        Ok(file)
    }

    /// Not opened under the lock: a server that is silent holds up those alone who ask it.
    fn on(&self, index: usize, place: &Place) -> Result<Arc<PlaceFile>, ShareError> {
        if let Some(file) = &*lock(&self.opened[index]) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(place.open(&self.name, self.size)?);
        Ok(Arc::clone(lock(&self.opened[index]).get_or_insert(file)))
    }
}

impl Source for File {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), SourceError> {
        self.share
            .any(|index, place| self.on(index, place)?.read_exact_at(buffer, offset))?;
        Ok(())
    }

    fn distrust(&self) {
        self.share.distrust();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("name", &self.name)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
