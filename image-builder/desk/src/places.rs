//! The pages that are kept up to date.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::source::Source;

/// So many at once.
const MOST: usize = 64;
/// So many of one source.
const MOST_OF_SOURCE: usize = 8;

/// Who has how many.
#[derive(Default)]
pub struct Pages(Mutex<HashMap<Option<Source>, usize>>);

/// The place of one page, until it is dropped.
pub struct Place {
    pages: Arc<Pages>,
    source: Option<Source>,
}

/// There is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// For anybody.
    Whole,
    /// For this source.
    OfSource,
}

impl Pages {
    /// Takes a place.
    pub fn take(pages: &Arc<Self>, source: Option<Source>) -> Result<Place, Full> {
        let mut taken = pages.lock();
        let own = taken.get(&source).copied().unwrap_or_default();
        if source.is_some() && own >= MOST_OF_SOURCE {
            return Err(Full::OfSource);
        }
        if taken.values().sum::<usize>() >= MOST {
            return Err(Full::Whole);
        }
        taken.insert(source, own + 1);
        let pages = Arc::clone(pages);
        Ok(Place { pages, source })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Option<Source>, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.pages.lock();
        match taken.get_mut(&self.source) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_leaves_places_for_others_and_who_goes_gives_its_place_back() {
        let pages = Arc::default();
        let take = |last: u8| {
            let source = Source::of(([192, 0, 2, last], 1).into());
            Pages::take(&pages, source)
        };
        let mut places: Vec<_> = (0..8).map(|_| take(1).expect("a place")).collect();
        assert_eq!(take(1).err(), Some(Full::OfSource));
        places.pop();
        places.push(take(1).expect("a place again"));
        for last in 2..=8 {
            places.extend((0..8).map(|_| take(last).expect("a place")));
        }
        assert_eq!(take(9).err(), Some(Full::Whole));
        places.clear();
        assert!(pages.lock().is_empty());
    }
}
