//! One bucket for each source: it fills by itself, and each request takes one out. No clock of its own.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::source::Source;

/// So many sources are remembered: an address costs an attacker nothing where there is IPv6.
const MOST: usize = 4096;

/// The buckets.
pub struct Buckets {
    /// What comes into each in a second.
    rate: f64,
    /// What fits into each.
    size: f64,
    known: HashMap<Source, Bucket>,
}

/// What was in it, and when that was.
#[derive(Clone, Copy)]
struct Bucket {
    content: f64,
    at: Instant,
}

impl Buckets {
    /// Buckets of this size, which are full at first and fill at this rate.
    pub fn new(rate: f64, size: f64) -> Self {
        Self {
            rate,
            size,
            known: HashMap::new(),
        }
    }

    /// Takes one out. From an empty bucket nothing can be taken; the error says when it can.
    pub fn take(&mut self, source: Source, now: Instant) -> Result<(), Duration> {
        let wait = self.wait(source, now);
        let taken = if wait.is_some() { 0.0 } else { 1.0 };
        let content = self.content(source, now) - taken;
        self.make_room(source);
        self.known.insert(source, Bucket { content, at: now });
        wait.map_or(Ok(()), Err)
    }

    /// How long nothing can be taken, if that is so now.
    pub fn wait(&self, source: Source, now: Instant) -> Option<Duration> {
        let content = self.content(source, now);
        (content < 1.0).then(|| Duration::from_secs_f64((1.0 - content) / self.rate))
    }

    fn content(&self, source: Source, now: Instant) -> f64 {
        self.known.get(&source).map_or(self.size, |bucket| {
            let came = now.saturating_duration_since(bucket.at).as_secs_f64() * self.rate;
            (bucket.content + came).min(self.size)
        })
    }

    /// Of too many sources the one is forgotten that asked longest ago: its bucket is the likeliest to be full again, and one
    /// that is not known is full.
    fn make_room(&mut self, source: Source) {
        if self.known.len() < MOST || self.known.contains_key(&source) {
            return;
        }
        let oldest = self.known.iter().min_by_key(|(_, bucket)| bucket.at);
        if let Some(oldest) = oldest.map(|(source, _)| *source) {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(number: u32) -> Source {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
        Source::of((address, 1).into()).expect("a source")
    }

    #[test]
    fn a_bucket_gives_what_is_in_it_and_then_what_comes() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut buckets = Buckets::new(10.0, 20.0);
        for _ in 0..20 {
            buckets.take(source(1), start).expect("it was full");
        }
        let wait = buckets.take(source(1), start).expect_err("empty");
        assert!((99..=101).contains(&wait.as_millis()), "{wait:?}");
        buckets.take(source(2), start).expect("another one's");
        buckets.take(source(1), after(101)).expect("one came");
        assert!(buckets.take(source(1), after(101)).is_err());
        // However long it takes, no more fits.
        let taken = (0..30).filter(|_| buckets.take(source(1), after(600_000)).is_ok());
        assert_eq!(taken.count(), 20);
    }

    #[test]
    fn sources_are_bounded_and_the_one_that_asks_most_is_not_forgotten() {
        let start = Instant::now();
        let mut buckets = Buckets::new(0.001, 2.0);
        for number in 0..20_000_u32 {
            let now = start + Duration::from_millis(number.into());
            buckets.take(source(number + 1), now).expect("its first");
            let is_taken = buckets.take(source(0), now).is_ok();
            assert_eq!(is_taken, number < 2, "{number}");
        }
        assert_eq!(buckets.known.len(), MOST);
    }
}
