//! The status LED as a person in front of the board sees it: the edges of its pin, as QEMU records them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The PL061's line that the device tree gives to the LED.
const LINE: &str = "setting output 5 to ";
/// A dark stretch longer than this ends a group of blinks.
const GROUP_GAP: f64 = 0.275;
/// A blink of at least this length is a slow one.
const SLOW_BLINK: f64 = 0.3;
/// The dark stretch after a fault number, a second and a half: it separates a complete number from one that was cut off.
const FAULT_PAUSE: std::ops::RangeInclusive<f64> = 1.2..=60.0;
/// Blinks in the flicker before a fault number: ten, but a busy machine loses some.
const FLICKER: std::ops::RangeInclusive<usize> = 7..=11;
/// At least this many quick blinks in a row are the pattern of writing, not a flicker.
const WRITING: usize = 12;

/// Only the pattern of success is lit for this long.
const STEADY: f64 = 1.0;

/// One lit stretch, in seconds of the trace's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Blink {
    /// When it was lit.
    pub start: f64,
    /// How long; to the end of the trace when it is still lit.
    pub length: f64,
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Fault numbers that were blinked to their end.
    pub faults: BTreeSet<u8>,
    /// Blinks in each second of the waiting and verifying patterns: 1 network, 2 server, 3 verifying.
    pub blinks_each_second: BTreeSet<usize>,
    /// Was the fast pattern of writing shown?
    pub writing: bool,
    /// Whether it was lit for a second or more, as after success.
    pub steady: bool,
}

/// Reads what the LED has shown from the trace of one start.
pub fn seen(trace: &Path, active_low: bool) -> Result<Seen> {
    let text = fs::read_to_string(trace).with_context(|| format!("reading {}", trace.display()))?;
    Ok(recognise(&blinks(&text, active_low)))
}

/// The lit stretches in a trace.
#[must_use]
pub fn blinks(trace: &str, active_low: bool) -> Vec<Blink> {
    let mut blinks = Vec::new();
    let mut since = None;
    let mut last = 0.0;
    for (time, lit) in edges(trace, active_low) {
        last = time;
        match (lit, since) {
            (true, None) => since = Some(time),
            (false, Some(start)) => {
                blinks.push(Blink {
                    start,
                    length: time - start,
                });
                since = None;
            }
            _ => {}
        }
    }
    if let Some(start) = since {
        blinks.push(Blink {
            start,
            length: last - start,
        });
    }
    blinks
}

/// Lines like `1234@1795380449.817206:pl061_set_output /machine/unattached/device[6] setting output 5 to 1`.
fn edges(trace: &str, active_low: bool) -> impl Iterator<Item = (f64, bool)> {
    trace.lines().filter_map(move |line| {
        let (head, level) = line.split_once(LINE)?;
        let (_, rest) = head.split_once('@')?;
        let (time, _) = rest.split_once(':')?;
        Some((time.parse().ok()?, (level.trim() == "1") != active_low))
    })
}

/// A group of blinks close to each other.
struct Group {
    blinks: usize,
    slow: bool,
    /// The dark stretch that follows; infinite after the last group.
    dark_after: f64,
}

fn groups(blinks: &[Blink]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (index, blink) in blinks.iter().enumerate() {
        let slow = blink.length >= SLOW_BLINK;
        let dark_after = blinks.get(index + 1).map_or(f64::INFINITY, |next| {
            next.start - blink.start - blink.length
        });
        match groups.last_mut() {
            Some(group) if group.dark_after < GROUP_GAP && !slow && !group.slow => {
                group.blinks += 1;
                group.dark_after = dark_after;
            }
            _ => groups.push(Group {
                blinks: 1,
                slow,
                dark_after,
            }),
        }
    }
    groups
}

fn recognise(blinks: &[Blink]) -> Seen {
    let groups = groups(blinks);
    let mut seen = Seen {
        steady: blinks.iter().any(|blink| blink.length >= STEADY),
        ..Seen::default()
    };
    for (index, group) in groups.iter().enumerate().filter(|(_, group)| !group.slow) {
        let rest = &groups[index + 1..];
        let slow: Vec<&Group> = rest.iter().take_while(|group| group.slow).collect();
        if FLICKER.contains(&group.blinks)
            && slow
                .last()
                .is_some_and(|last| FAULT_PAUSE.contains(&last.dark_after))
        {
            seen.faults.extend(u8::try_from(slow.len()));
        } else if group.blinks >= WRITING {
            seen.writing = true;
        } else if rest
            .first()
            .is_some_and(|next| !next.slow && next.blinks == group.blinks)
            && group.blinks <= 3
        {
            seen.blinks_each_second.insert(group.blinks);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trace of phases. Each is lit or dark, for this many milliseconds.
    fn trace(phases: &[(bool, u32)], active_low: bool) -> String {
        let mut millis = 1_795_380_449_000_u64;
        let mut text = String::new();
        for (lit, length) in phases {
            let level = u8::from(*lit != active_low);
            let (seconds, rest) = (millis / 1000, millis % 1000);
            let line =
                format!("77@{seconds}.{rest:03}000:pl061_set_output /machine/d[6] {LINE}{level}\n");
            text.push_str(&line);
            millis += u64::from(*length);
        }
        text
    }

    fn fault(number: usize) -> Vec<(bool, u32)> {
        let mut phases = [(true, 50), (false, 50)].repeat(10);
        phases.push((false, 1000));
        phases.extend([(true, 500), (false, 500)].repeat(number));
        phases.push((false, 1000));
        phases
    }

    fn seen_in(phases: &[(bool, u32)], active_low: bool) -> Seen {
        recognise(&blinks(&trace(phases, active_low), active_low))
    }

    #[test]
    fn a_fault_number_is_read_from_its_second_showing_on() {
        for number in 1..=9 {
            let mut phases = fault(number);
            assert!(
                seen_in(&phases, false).faults.is_empty(),
                "once is not to the end"
            );
            phases.extend(fault(number));
            let expected = BTreeSet::from([u8::try_from(number).expect("small")]);
            assert_eq!(seen_in(&phases, false).faults, expected);
            assert_eq!(seen_in(&phases, true).faults, expected);
        }
    }

    #[test]
    fn a_number_that_was_cut_off_is_no_number() {
        let mut phases = fault(7);
        phases.truncate(10 * 2 + 1 + 3 * 2);
        phases.extend([(true, 100), (false, 100)].repeat(20));
        assert!(seen_in(&phases, false).faults.is_empty());
    }

    #[test]
    fn waiting_writing_and_verifying_look_different() {
        let mut phases = [(true, 100), (false, 150), (true, 100), (false, 650)].repeat(3);
        phases.extend([(true, 100), (false, 100)].repeat(20));
        phases.push((false, 400));
        phases.extend(
            [
                (true, 100),
                (false, 150),
                (true, 100),
                (false, 150),
                (true, 100),
                (false, 400),
            ]
            .repeat(3),
        );
        assert!(!seen_in(&phases, true).steady);
        phases.extend([(true, 2000), (false, 1)]);
        let seen = seen_in(&phases, true);
        assert_eq!(seen.blinks_each_second, BTreeSet::from([2, 3]));
        assert!(
            seen.writing && seen.steady && seen.faults.is_empty(),
            "{seen:?}"
        );
    }
}
