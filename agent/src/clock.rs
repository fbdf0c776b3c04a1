//! Sets the clock, because TLS needs the time: a board without a battery starts in 1970, when no certificate is valid yet.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gild_orders::FLOOR;
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
    /// No time server answers, but the board's own clock is at a time that there can be: it may have run on while the board was off.
    Own,
    /// Nobody knows the time.
    Unknown,
}

/// Whether this start of the agent knows the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Knowledge {
    /// It has not asked yet.
    #[default]
    NotAsked,
    /// No time server has answered, and the clock is a guess.
    Unknown,
    /// By the board's own clock.
    Own,
    /// By a time server.
    Server,
}

impl Knowledge {
    /// After the clock was set once more. A guess that was set before looks like a clock of the board's own, and stays a guess.
    pub fn after(self, setting: &Setting) -> Self {
        match (self, setting) {
            (Self::Server, _) | (_, Setting::Right | Setting::Moved { .. }) => Self::Server,
            (Self::Unknown, _) | (_, Setting::Unknown) => Self::Unknown,
            (Self::NotAsked | Self::Own, Setting::Own) => Self::Own,
        }
    }

    /// Whether it is more than a guess.
    pub fn is_time_known(self) -> bool {
        matches!(self, Self::Own | Self::Server)
    }
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
            let setting = without_server(now());
            not_before(FLOOR);
            setting
        }
    }
}

/// What the board's own clock is worth.
fn without_server(own: Duration) -> Setting {
    if own < FLOOR {
        Setting::Unknown
    } else {
        Setting::Own
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
    fn a_guess_stays_a_guess_until_a_time_server_answers() {
        let without = |own: Duration| without_server(own);
        let first = Knowledge::default().after(&without(Duration::from_hours(1)));
        assert_eq!(first, Knowledge::Unknown, "a board without a battery");
        // The clock was set to the floor, and some time has passed.
        let then = first.after(&without(FLOOR + Duration::from_mins(1)));
        assert!(!then.is_time_known(), "{then:?}");
        assert!(then.after(&Setting::Right).is_time_known());
        let own = Knowledge::default().after(&without(FLOOR + Duration::from_hours(1)));
        assert_eq!(own, Knowledge::Own, "a board with a battery");
        let set = own.after(&Setting::Right);
        assert_eq!(set.after(&Setting::Own), Knowledge::Server);
        assert!(own.is_time_known() && !Knowledge::NotAsked.is_time_known());
    }

    #[test]
    fn the_floor_has_passed() {
        assert!(SystemTime::now() > UNIX_EPOCH + FLOOR);
    }
}
