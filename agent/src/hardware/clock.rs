//! What setting the clock shows about it. Numbers in, a finding out.

use std::time::Duration;

use gild_report::{Finding, Level};

use super::finding;
use crate::clock::Setting;

pub const SUBJECT: &str = "clock";
/// Any clock may lose less than this in some months.
const OFF: Duration = Duration::from_mins(5);

/// A clock that is wrong gets set, so the finding is only for information.
pub fn judge(setting: &Setting) -> Option<Finding> {
    let message = match setting {
        Setting::Moved { way, by } if *by >= OFF => format!(
            "the board's clock was off, and was set {way} by {} s; next: give it a battery, if the board has a place for one",
            by.as_secs()
        ),
        Setting::Right | Setting::Moved { .. } => return None,
        Setting::Own | Setting::Unknown => "no time server answers, so that nobody knows whether the clock is right; next: name one in `network.ntp`, and let its \
            answers through (UDP port 123)"
            .to_owned(),
    };
    Some(finding(SUBJECT, Level::Note, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_far_off_or_that_nobody_knows_is_noted() {
        let moved = |seconds| Setting::Moved {
            way: "forwards",
            by: Duration::from_secs(seconds),
        };
        assert_eq!(judge(&Setting::Right), None);
        assert_eq!(judge(&moved(299)), None);
        let far = judge(&moved(86_400)).expect("a clock without a battery");
        assert!(far.message.contains("set forwards by 86400 s"), "{far:?}");
        assert_eq!(far.level, Level::Note);
        assert!(judge(&Setting::Unknown).is_some());
    }
}
