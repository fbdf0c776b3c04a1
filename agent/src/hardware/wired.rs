//! The speed of the wired link. Numbers in, a finding out.

use gild_report::{Finding, Level};

use super::finding;

pub const SUBJECT: &str = "link";
/// Every supported board and every usable switch reaches this speed.
const EXPECTED: u32 = 1000;

/// What sysfs says in `speed`, in Mbit/s: nothing or -1 if the driver does not know it.
pub fn judge(interface: &str, speed: &str) -> Option<Finding> {
    let speed: u32 = speed.parse().ok().filter(|speed| *speed > 0)?;
    (speed < EXPECTED).then(|| {
        let message = format!(
            "{interface} runs at {speed} Mbit/s, and the board can {EXPECTED}; next: take another cable (all four pairs are needed), and \
             another port of the switch"
        );
        finding(SUBJECT, Level::Warning, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_below_a_gigabit_is_slow_and_one_that_nobody_knows_is_not() {
        for (speed, is_slow) in [
            ("10", true),
            ("100", true),
            ("1000", false),
            ("2500", false),
            ("-1", false),
            ("", false),
            ("0", false),
            ("4294967295", false),
        ] {
            assert_eq!(judge("end0", speed).is_some(), is_slow, "{speed}");
        }
        let found = judge("end0", "100").expect("a slow link");
        assert_eq!((&*found.subject, found.level), ("link", Level::Warning));
        assert!(
            found.message.contains("end0 runs at 100 Mbit/s"),
            "{found:?}"
        );
    }
}
