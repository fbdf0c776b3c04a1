//! What a disk's SMART log means. Numbers in, findings out.

use gild_disk::Smart;
use gild_report::{Finding, Level};

use super::finding;

pub const SUBJECT: &str = "nvme";
/// Common disks slow down from this temperature, degrees Celsius.
const WARM: u16 = 75;
/// From this percentage a disk is near the end of the life that its maker promised.
const OLD: u8 = 90;
/// 0 degrees Celsius, kelvin.
const ZERO: u16 = 273;

/// Everything that may need the operator.
pub fn judge(smart: Smart) -> Vec<Finding> {
    let says = |warning| smart.critical_warning & warning != 0;
    let mut found = Vec::new();
    let mut tell = |level, message| found.push(finding(SUBJECT, level, message));
    if says(Smart::READ_ONLY) {
        let message = "the disk says that it takes no writes any more; next: replace it";
        tell(Level::Warning, message.to_owned());
    }
    if says(Smart::UNRELIABLE) {
        let message = "the disk says that it is not reliable any more; next: replace it";
        tell(Level::Warning, message.to_owned());
    }
    if says(Smart::BACKUP) {
        let message =
            "the disk says that its protection against power cuts has failed; next: replace it";
        tell(Level::Warning, message.to_owned());
    }
    if says(Smart::SPARE) || smart.spare < smart.spare_threshold {
        let message = format!(
            "the disk has {} % of its spare blocks left, and warns below {} %; next: replace it soon",
            smart.spare, smart.spare_threshold
        );
        tell(Level::Warning, message);
    }
    let degrees = smart.kelvin.checked_sub(ZERO);
    if says(Smart::TEMPERATURE) || degrees.is_some_and(|degrees| degrees >= WARM) {
        let measured = degrees.map_or_else(String::new, |degrees| format!(", at {degrees} °C"));
        let message = format!(
            "the disk is too warm or too cold{measured}, and slows down; next: give it a heat sink, or air"
        );
        tell(Level::Warning, message);
    }
    if smart.used >= OLD {
        let level = if smart.used >= 100 {
            Level::Warning
        } else {
            Level::Note
        };
        let message = format!(
            "{} % of the life that the disk's maker promises are used; next: plan to replace it",
            smart.used
        );
        tell(level, message);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sound disk.
    const SOUND: Smart = Smart {
        critical_warning: 0,
        kelvin: 273 + 45,
        spare: 100,
        spare_threshold: 10,
        used: 3,
    };

    fn said(smart: Smart) -> Vec<(Level, String)> {
        let found = judge(smart).into_iter();
        found.map(|found| (found.level, found.message)).collect()
    }

    #[test]
    fn a_sound_disk_says_nothing_at_its_limits_either() {
        for smart in [
            SOUND,
            Smart { spare: 10, ..SOUND },
            Smart { used: 89, ..SOUND },
            Smart {
                kelvin: 273 + 74,
                ..SOUND
            },
            Smart { kelvin: 0, ..SOUND },
        ] {
            assert_eq!(said(smart), [], "{smart:?}");
        }
    }

    #[test]
    fn each_trouble_is_said_once_with_what_to_do() {
        let warned = |critical_warning| Smart {
            critical_warning,
            ..SOUND
        };
        for (smart, level, part) in [
            (warned(0b0001), Level::Warning, "100 % of its spare blocks"),
            (warned(0b0010), Level::Warning, "at 45 °C"),
            (warned(0b0100), Level::Warning, "not reliable"),
            (warned(0b1000), Level::Warning, "no writes"),
            (warned(0b1_0000), Level::Warning, "power cuts"),
            (
                Smart { spare: 9, ..SOUND },
                Level::Warning,
                "9 % of its spare blocks left, and warns below 10 %",
            ),
            (
                Smart {
                    spare: 9,
                    ..warned(1)
                },
                Level::Warning,
                "9 %",
            ),
            (
                Smart {
                    kelvin: 273 + 75,
                    ..SOUND
                },
                Level::Warning,
                "at 75 °C",
            ),
            (
                Smart {
                    kelvin: 0,
                    ..warned(0b0010)
                },
                Level::Warning,
                "too cold, and",
            ),
            (Smart { used: 90, ..SOUND }, Level::Note, "90 % of the life"),
            (
                Smart { used: 100, ..SOUND },
                Level::Warning,
                "100 % of the life",
            ),
            (
                Smart { used: 255, ..SOUND },
                Level::Warning,
                "255 % of the life",
            ),
        ] {
            let said = said(smart);
            assert_eq!(said.len(), 1, "{said:?}");
            assert_eq!(said[0].0, level, "{said:?}");
            assert!(
                said[0].1.contains(part) && said[0].1.contains("; next: "),
                "{said:?}"
            );
        }
        assert_eq!(said(warned(0xff)).len(), 5);
    }
}
