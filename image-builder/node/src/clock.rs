//! Whether this node knows the time. Orders expire by its clock, and a clock that stands still makes each order count that ever was.

use std::fs;
use std::path::Path;
use std::time::Duration;

use gild_orders::FLOOR;

/// systemd-timesyncd makes it when a time server has answered.
const IS_SET: &str = "run/systemd/timesync/synchronized";
/// The board's own clocks.
const RTCS: &str = "sys/class/rtc";
/// How far a clock of the board may be from the system's, which was set by it when the board started.
const CLOSE: u64 = 600;
/// After this time since its start a node has heard of its time server, if there is one.
const EARLY: Duration = Duration::from_mins(10);

/// Whether a time server has set the clock.
#[must_use]
pub fn is_set(root: &Path) -> bool {
    root.join(IS_SET).exists()
}

/// Whether the clock is more than a guess: a time server has set it, or a clock of the board runs on while the board is off. Where that
/// clock has lost the time, systemd gives the system another one, so the two differ.
#[must_use]
pub fn is_known(root: &Path, now: u64) -> bool {
    let rtcs = fs::read_dir(root.join(RTCS)).into_iter().flatten();
    is_set(root)
        || rtcs.flatten().any(|rtc| {
            let seconds = fs::read_to_string(rtc.path().join("since_epoch"));
            let seconds = seconds.ok().and_then(|text| text.trim().parse().ok());
            seconds.is_some_and(|seconds: u64| {
                seconds >= FLOOR.as_secs() && seconds.abs_diff(now) <= CLOSE
            })
        })
}

/// Whether the node has just started, so that a time server may still answer.
#[must_use]
pub fn is_early(root: &Path) -> bool {
    let uptime = fs::read_to_string(root.join("proc/uptime")).unwrap_or_default();
    let seconds = uptime.split('.').next().and_then(|text| text.parse().ok());
    seconds.is_some_and(|seconds: u64| seconds < EARLY.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_known_by_a_time_server_or_by_a_clock_of_the_board_that_ran_on() {
        let now = FLOOR.as_secs() + 1_000_000;
        for (rtc, is_known_by_it) in [
            (None, false),
            (Some("nonsense"), false),
            (Some("1234"), false),
            (Some(&*format!("{}\n", now - 60)), true),
            (Some(&*format!("{}\n", now - 86_400)), false),
        ] {
            let root = tempfile::tempdir().expect("a folder");
            let put = |path: &str, text: &str| {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                fs::write(path, text).expect("a file");
            };
            if let Some(rtc) = rtc {
                put("sys/class/rtc/rtc0/since_epoch", rtc);
            }
            assert_eq!(is_known(root.path(), now), is_known_by_it, "{rtc:?}");
            // Both clocks stand at 1970.
            assert!(!is_known(root.path(), 1234), "{rtc:?}");
            put(IS_SET, "");
            assert!(is_known(root.path(), now));
            assert!(!is_early(root.path()), "nobody says so");
            for (uptime, early) in [("59.21 100.00\n", true), ("4000.00 1.00\n", false)] {
                put("proc/uptime", uptime);
                assert_eq!(is_early(root.path()), early);
            }
        }
    }
}
