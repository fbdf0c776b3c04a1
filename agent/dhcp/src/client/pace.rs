//! When a request is sent again: each pause is twice as long as the one before, and differs between clients.

use std::time::Duration;

/// Half of RFC 2131's four seconds: the agent checks its interfaces every half minute, and a first packet is often lost in
/// a switch that has just seen the carrier.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(64);
/// RFC 2131: a second more or less.
const SPREAD: f64 = 1.0;
/// RFC 2131's shortest pause between two requests to extend a lease.
const EXTEND: Duration = Duration::from_mins(1);
/// The same for leases that have no room for such pauses.
const SHORTEST: Duration = Duration::from_secs(1);

/// The sequence of one kind of request.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    next: Duration,
    last: Duration,
    attempts: u32,
}

impl Pace {
    /// One whose first request is due at this moment.
    pub fn from(now: Duration) -> Self {
        Self {
            next: now,
            last: now,
            attempts: 0,
        }
    }

    /// When the next request is due.
    pub fn next(&self) -> Duration {
        self.next
    }

    /// When the last one was sent.
    pub fn last(&self) -> Duration {
        self.last
    }

    /// Sends one now. Says how many there were before.
    pub fn step(&mut self, now: Duration, random: &mut fastrand::Rng) -> u32 {
        let before = self.attempts;
        let pause = FIRST
            .saturating_mul(1 << before.min(16))
            .min(LONGEST)
            .as_secs_f64();
        let spread = SPREAD * (2.0 * random.f64() - 1.0);
        self.attempts += 1;
        self.last = now;
        self.next = now + Duration::from_secs_f64((pause + spread).max(SPREAD));
        before
    }
}

/// When a lease of this length is asked for again: after half of the time up to the limit, and not before a minute, or a
/// sixteenth of a short lease, is over.
pub fn again(now: Duration, limit: Duration, lease: Duration) -> Duration {
    let shortest = (lease / 16).clamp(SHORTEST, EXTEND);
    let half = limit.saturating_sub(now) / 2;
    // The limit is the beginning of something else.
    (now + half.max(shortest)).min(limit.max(now + SHORTEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_about_a_minute() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut pace = Pace::from(Duration::ZERO);
        let mut now = Duration::ZERO;
        for usual in [2, 4, 8, 16, 32, 64, 64, 64] {
            pace.step(now, &mut random);
            let pause = pace.next().saturating_sub(now).as_secs_f64();
            assert!((pause - f64::from(usual)).abs() <= SPREAD, "{pause}");
            now = pace.next();
        }
    }

    #[test]
    fn requests_to_extend_come_closer_together_up_to_the_limit() {
        let s = Duration::from_secs;
        assert_eq!(again(s(0), s(1000), s(4000)), s(500));
        assert_eq!(again(s(900), s(1000), s(4000)), s(960));
        assert_eq!(again(s(990), s(1000), s(4000)), s(1000));
        assert_eq!(again(s(30), s(52), s(60)), s(41), "a short lease");
        assert_eq!(again(s(5), s(7), s(8)), s(6));
    }
}
