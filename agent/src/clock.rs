//! Sets the clock, because TLS needs the time: a board without a battery starts in 1970, when no certificate is valid yet.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::{info, warn};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use rsntp::{Config, SntpClient};

/// How long one time server may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// At most this many time servers are asked.
const SERVERS: usize = 4;
/// A smaller error does not matter for certificates.
const CLOSE: Duration = Duration::from_secs(2);

/// The first of June 2026, which was already past when this was written. It is a constant because the build must be reproducible.
pub const FLOOR: Duration = Duration::from_hours(20_605 * 24);

/// The outcome for the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// It was right.
    Right,
    /// It was wrong by this much.
    Moved {
        /// The direction in which it was set, or should have been set.
        way: &'static str,
        /// How far.
        by: Duration,
    },
    /// Nobody knows the time.
    Unknown,
}

/// Sets the clock by the first time server that answers, forwards or back. A board's own clock may be months wrong, and certificates are
/// checked against it. If no server answers, a clock that is behind [`FLOOR`] is set to it.
pub fn set(servers: impl Iterator<Item = Ipv4Addr>) -> Setting {
    let client = SntpClient::with_config(Config::default().timeout(PATIENCE));
    let answer = servers.take(SERVERS).find_map(|server| {
        let time = client.synchronize(server.to_string()).ok()?.datetime();
        let time = time.unix_timestamp().ok()?;
        (time >= FLOOR).then_some((server, time))
    });
    match answer {
        Some((server, time)) if is_wrong(now(), time) => {
            let (way, seconds) = step(now(), time);
            set_to(time, &format!("from {server}"));
            Setting::Moved {
                way,
                by: Duration::from_secs(seconds),
            }
        }
        Some(_) => Setting::Right,
        None => {
            info!("no time server answers: certificates are judged by the board's own clock");
            not_before(FLOOR);
            Setting::Unknown
        }
    }
}

/// Whether the clock is behind or ahead by too much.
fn is_wrong(own: Duration, right: Duration) -> bool {
    own.abs_diff(right) > CLOSE
}

/// In which direction the clock must move, and by how many seconds.
fn step(own: Duration, time: Duration) -> (&'static str, u64) {
    let way = if time > own { "forwards" } else { "back" };
    (way, own.abs_diff(time).as_secs())
}

/// If the clock is behind this time, which is certainly past, sets it to that.
pub fn not_before(passed: Duration) {
    if now() < passed {
        set_to(
            passed,
            "to a time that is known to have passed: no time server has said more",
        );
    }
}

/// Seconds since 1970, by the board's clock.
pub fn seconds() -> u64 {
    now().as_secs()
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn set_to(time: Duration, source: &str) {
    let (way, seconds) = step(now(), time);
    match clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::from(time)) {
        Ok(()) => info!("clock set {way} by {seconds} s {source}"),
        Err(error) => warn!("the clock is wrong and cannot be set: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_wrong_in_both_directions_and_close_is_right() {
        let right = FLOOR + Duration::from_hours(1);
        let hour = Duration::from_hours(1);
        for (own, way) in [
            (right + hour, "back"),
            (right.saturating_sub(hour), "forwards"),
        ] {
            assert!(is_wrong(own, right));
            assert_eq!(step(own, right), (way, 3600));
        }
        assert!(is_wrong(Duration::ZERO, right));
        assert!(!is_wrong(right + CLOSE, right) && !is_wrong(right, right + CLOSE));
    }

    #[test]
    fn the_floor_has_passed() {
        assert!(SystemTime::now() > UNIX_EPOCH + FLOOR);
    }
}
