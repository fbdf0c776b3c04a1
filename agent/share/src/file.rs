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
    pub(crate) fn open(share: Arc<Inner>, name: &str) -> Result<Self, ShareError> {
        let (index, file) = share.any(|index, place| Ok((index, place.open(name)?)))?;
        let opened: Vec<_> = share.places.iter().map(|_| Mutex::new(None)).collect();
        let size = file.size();
        *lock(&opened[index]) = Some(Arc::new(file));
        Ok(Self {
            share,
            name: name.to_owned(),
            size,
            opened,
        })
    }

    fn on(&self, index: usize, place: &Place) -> Result<Arc<PlaceFile>, ShareError> {
        let mut opened = lock(&self.opened[index]);
        if let Some(file) = &*opened {
            return Ok(Arc::clone(file));
        }
        let file = place.open(&self.name)?;
        if file.size() != self.size {
            return Err(ShareError::OtherFile {
                name: self.name.clone(),
                server: place.url.to_string(),
                found: file.size(),
                wanted: self.size,
            });
        }
        Ok(Arc::clone(opened.insert(Arc::new(file))))
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
