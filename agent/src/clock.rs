//! The clock, as far as TLS needs it: a board without a battery starts in 1970, when no certificate is valid yet.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::{info, warn};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use rsntp::{Config, SntpClient};

/// How long one time server may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// As many are asked.
const SERVERS: usize = 2;

/// The first of June 2026, in days since 1970: it had passed when this agent was written. A constant keeps the build reproducible.
pub const FLOOR: Duration = Duration::from_hours(20_605 * 24);

/// Sets the clock if it is behind the given time, which is known to have passed: from the first time server that
/// answers, else to that time itself.
pub fn set(passed: Duration, servers: impl Iterator<Item = Ipv4Addr>) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    if now >= passed {
        return;
    }
    let client = SntpClient::with_config(Config::default().timeout(PATIENCE));
    let answer = servers.take(SERVERS).find_map(|server| {
        let time = client.synchronize(server.to_string()).ok()?.datetime();
        Some((server, time.unix_timestamp().ok()?))
    });
    let (time, source) = match answer {
        Some((server, time)) if time >= passed => (time, format!("from {server}")),
        _ => (
            passed,
            "to a time that is known to have passed: no time server answered".to_owned(),
        ),
    };
    match clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::from(time)) {
        Ok(()) => info!("clock set {source}"),
        Err(error) => warn!("the clock is wrong and cannot be set: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_has_passed() {
        assert!(SystemTime::now() > UNIX_EPOCH + FLOOR);
    }
}
