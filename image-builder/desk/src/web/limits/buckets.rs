//! One bucket for each source. It refills with time, and each request takes one unit out. The callers give the time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::source::Source;

/// At most this many sources are remembered: with IPv6 an attacker has any number of addresses.
const MOST: usize = 4096;

/// The buckets.
pub struct Buckets {
    /// Units that each bucket gains in a second.
    rate: f64,
    /// Units that fit into a bucket.
    size: f64,
    known: HashMap<Source, Bucket>,
}

/// How much was in the bucket at which time.
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

    /// Takes one unit. If the bucket is empty, the error says how long until there is one.
    pub fn take(&mut self, source: Source, now: Instant) -> Result<(), Duration> {
        let wait = self.wait(source, now);
        let taken = if wait.is_some() { 0.0 } else { 1.0 };
        let content = self.content(source, now) - taken;
        self.make_room(source);
        self.known.insert(source, Bucket { content, at: now });
        wait.map_or(Ok(()), Err)
    }

    /// How long until there is a unit, if there is none now.
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

    /// If there are too many sources, forgets the one that asked the longest time ago. Its bucket is the likeliest to be full again, and an
    /// unknown source counts as full.
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
        // However long the pause, the bucket holds no more than its size.
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
