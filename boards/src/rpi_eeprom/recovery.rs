//! What can be known of a `recovery.bin`, the vendor's program that writes the EEPROM. Its format is not published, so only
//! the texts in it say what it is; a program without such texts may still be good.

use std::ops::RangeInclusive;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use memchr::memmem;

/// Bytes of such a program. The known ones have about 100 KiB.
pub const RECOVERY_LENGTH: RangeInclusive<usize> = 32 << 10..=1 << 20;

/// From when on it knows the memory of boards with newer parts: 2026-04-14, by the vendor's release notes. An earlier program
/// stops on such a board with a red screen, before anything else starts.
pub const RECOVERY_FOR_NEWER_PARTS: u32 = 1_776_124_800;

/// How the firmware's programs begin the line in which they introduce themselves.
const LINE: &[u8] = b"RPi: BOOT";
const LONGEST_LINE: usize = 120;
/// The text before the build time in seconds since 1970.
const BUILT: &[u8] = b"BUILD_TIMESTAMP=";
const DATE: &[u8] = b"DATE: ";
/// As in `2026/05/26 TIME: 16:01:25`.
const DATE_FORMAT: &str = "%Y/%m/%d TIME: %H:%M:%S";
const DATE_LENGTH: usize = 25;
/// How the file is called that it looks for.
const EEPROM_FILE: &[u8] = b"pieeprom.";

/// What the texts in a program say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// When it was built, in seconds since 1970, if it says one time only.
    pub built: Option<u32>,
    /// The line in which it introduces itself.
    pub line: Option<String>,
    /// Whether it names the file that a `recovery.bin` writes.
    pub names_eeprom: bool,
}

impl Recovery {
    /// Reads the texts of a program that may be one; nothing if no text says that it is the vendor's.
    #[must_use]
    pub fn of(program: &[u8]) -> Option<Self> {
        if !RECOVERY_LENGTH.contains(&program.len()) {
            return None;
        }
        let line = memmem::find(program, LINE).map(|at| line_at(program, at));
        let mut times: Vec<u32> = built(program).chain(dated(program)).collect();
        times.sort_unstable();
        times.dedup();
        let found = Self {
            built: match times[..] {
                [time] => Some(time),
                _ => None,
            },
            names_eeprom: memmem::find(program, EEPROM_FILE).is_some(),
            line,
        };
        (found.line.is_some() || !times.is_empty()).then_some(found)
    }
}

fn line_at(program: &[u8], at: usize) -> String {
    let line = program[at..].iter().take(LONGEST_LINE);
    let line = line.take_while(|byte| (0x20..0x7f).contains(*byte));
    line.map(|byte| char::from(*byte)).collect()
}

fn built(program: &[u8]) -> impl Iterator<Item = u32> {
    let rests = memmem::find_iter(program, BUILT).map(|at| &program[at + BUILT.len()..]);
    rests.filter_map(|rest| {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        str::from_utf8(&rest[..digits]).ok()?.parse().ok()
    })
}

fn dated(program: &[u8]) -> impl Iterator<Item = u32> {
    let rests = memmem::find_iter(program, DATE).map(|at| &program[at + DATE.len()..]);
    rests.filter_map(|rest| {
        let text = str::from_utf8(rest.get(..DATE_LENGTH)?).ok()?;
        let time = DateTime::strptime(DATE_FORMAT, text).ok()?;
        let time = time.to_zoned(TimeZone::UTC).ok()?.timestamp();
        u32::try_from(time.as_second()).ok()
    })
}

/// The day of a time in seconds since 1970, for people.
#[must_use]
pub fn day(seconds: u32) -> String {
    // Without jiff's formatting, which the agent would carry for this alone.
    Timestamp::from_second(i64::from(seconds))
        .map(|time| Offset::UTC.to_datetime(time).date())
        .map(|date| format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(texts: &[&str]) -> Vec<u8> {
        let mut bytes = vec![0x80; 40_000];
        for (index, text) in texts.iter().enumerate() {
            let at = 1000 * (index + 1);
            bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        bytes
    }

    const LINE: &str = "RPi: BOOTSYS release VERSION:086b83e3 DATE: 2026/05/26 TIME: 16:01:25";
    const TIME: u32 = 1_779_811_285;

    #[test]
    fn the_texts_of_a_program_say_what_it_is_and_when_it_was_built() {
        assert_eq!(
            Recovery::of(&program(&[LINE, "pieeprom.upd"])),
            Some(Recovery {
                built: Some(TIME),
                line: Some(LINE.to_owned()),
                names_eeprom: true,
            })
        );
        let stamp = format!("BUILD_TIMESTAMP={TIME}");
        for texts in [&[stamp.as_str()][..], &[LINE, &stamp], &[&LINE[37..]]] {
            let found = Recovery::of(&program(texts)).expect("a program of the vendor's");
            assert_eq!(found.built, Some(TIME), "{texts:?}");
            assert!(!found.names_eeprom);
        }
        assert_eq!(day(TIME), "2026-05-26");
        assert_eq!(day(RECOVERY_FOR_NEWER_PARTS), "2026-04-14");
        assert_eq!(day(RECOVERY_FOR_NEWER_PARTS - 1), "2026-04-13");
    }

    #[test]
    fn nothing_is_said_that_is_not_there() {
        for texts in [
            &[][..],
            &["pieeprom.upd"],
            &["DATE: 2026/13/01 TIME: 16:01:25"],
        ] {
            assert_eq!(Recovery::of(&program(texts)), None, "{texts:?}");
        }
        // Two times: nobody can say which one is the program's.
        let found = Recovery::of(&program(&[LINE, "BUILD_TIMESTAMP=1"])).expect("the vendor's");
        assert_eq!(found.built, None);
        // The line alone has no time if it is put together when the program runs.
        let found = Recovery::of(&program(&[
            "RPi: BOOTSYS release VERSION:%s DATE: %s TIME: %s",
        ]));
        assert_eq!(found.expect("the vendor's").built, None);
        let mut short = program(&[LINE]);
        short.truncate(RECOVERY_LENGTH.start() - 1);
        assert_eq!(Recovery::of(&short), None);
    }
}
