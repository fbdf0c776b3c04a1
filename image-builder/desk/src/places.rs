//! A limited number of places, shared fairly: a source may never hold more places than are left for all others. So the next source always
//! finds some, however many one source takes. The programs of this machine are not counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::source::Source;

/// How many places each source holds.
pub struct Places {
    most: usize,
    most_of_source: usize,
    taken: Mutex<HashMap<Source, usize>>,
    freed: Notify,
}

/// One place, until it is dropped.
pub struct Place {
    places: Arc<Places>,
    source: Option<Source>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Too few places are left for a source that already holds this many.
    Whole,
    /// The source holds as many as one source may.
    OfSource,
}

impl Places {
    /// At most `most` places are taken at a time, and at most `most_of_source` by one source.
    pub fn new(most: usize, most_of_source: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_of_source,
            taken: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Takes a place.
    pub fn take(self: &Arc<Self>, source: Option<Source>) -> Result<Place, Full> {
        if let Some(source) = source {
            let mut taken = self.lock();
            let own = taken.get(&source).copied().unwrap_or_default();
            if own >= self.most_of_source {
                return Err(Full::OfSource);
            }
            let all: usize = taken.values().sum();
            if own >= self.most.saturating_sub(all) {
                return Err(Full::Whole);
            }
            taken.insert(source, own + 1);
        }
        let places = Arc::clone(self);
        Ok(Place { places, source })
    }

    /// Waits until there is a place.
    pub async fn wait(self: &Arc<Self>, source: Source) -> Place {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // Registered before `take`, so that a place that is freed right after `take` is not missed.
            freed.as_mut().enable();
            if let Ok(place) = self.take(Some(source)) {
                return place;
            }
            freed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Source, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(source) = self.source else {
            return;
        };
        let mut taken = self.places.lock();
        match taken.get_mut(&source) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&source)),
        }
        drop(taken);
        self.places.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Option<Source> {
        Source::of(([192, 0, 2, last], 1).into())
    }

    #[test]
    fn one_source_leaves_places_for_others_and_who_goes_gives_its_place_back() {
        let places = Places::new(64, 8);
        let take = |last| places.take(source(last));
        let mut taken: Vec<_> = (0..8).map(|_| take(1).expect("a place")).collect();
        assert_eq!(take(1).err(), Some(Full::OfSource));
        taken.pop();
        taken.push(take(1).expect("a place again"));
        taken.clear();
        assert!(places.lock().is_empty());
    }

    #[test]
    fn however_many_take_all_they_get_the_next_one_gets_some() {
        let places = Places::new(64, 32);
        let mut taken = Vec::new();
        for last in 1..=20 {
            let before = taken.len();
            taken.extend(std::iter::from_fn(|| places.take(source(last)).ok()));
            assert!(taken.len() > before || last > 6, "{last}");
        }
        assert_eq!(taken.len(), 64);
        let own = Source::of(([127, 0, 0, 1], 1).into());
        for _ in 0..1000 {
            taken.push(places.take(own).expect("this machine's own programs"));
        }
        assert_eq!(places.take(source(99)).err(), Some(Full::Whole));
        taken.clear();
        assert!(places.lock().is_empty());
    }
}
