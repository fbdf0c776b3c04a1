//! Remembers which reports the desk has seen. An old report that somebody sends again must not open a door.

use gild_report::Kind;
use serde::{Deserialize, Serialize};

use super::Trust;

/// At most this many starts of a board are remembered for each speaker.
const REMEMBERED: usize = 256;
const LONGEST: usize = 32;

/// The starts of one board, the present ones last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starts {
    seen: Vec<Start>,
}

/// One start, as reported by one speaker. Speakers are kept apart, so that none of them can make the desk ignore another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Start {
    speaker: Trust,
    boot: String,
    sequence: u64,
}

impl Starts {
    /// Whether this report is later than those already seen.
    #[must_use]
    pub fn is_new(&self, kind: Kind, speaker: Trust, boot: &str, sequence: u64) -> bool {
        let mut alike = self.seen.iter().filter(|start| start.speaker == speaker);
        if self.last(speaker) == Some(boot) {
            return alike.any(|start| start.boot == boot && start.sequence < sequence);
        }
        // A receipt of an earlier start may come late, but only once. Nothing else of an earlier start is new.
        !alike.any(|start| {
            start.boot == boot && (kind != Kind::Receipt || start.sequence >= sequence)
        })
    }

    /// Whether this is the start that reported last, or a later one.
    #[must_use]
    pub fn is_present(&self, speaker: Trust, boot: &str) -> bool {
        let knows = |start: &Start| start.speaker == speaker && start.boot == boot;
        self.last(speaker) == Some(boot) || !self.seen.iter().any(knows)
    }

    /// Notes a report.
    pub fn note(&mut self, speaker: Trust, boot: &str, sequence: u64) {
        let of = |start: &Start| start.speaker == speaker;
        let known = self
            .seen
            .iter_mut()
            .find(|start| of(start) && start.boot == boot);
        if let Some(start) = known {
            start.sequence = start.sequence.max(sequence);
            return;
        }
        self.seen.push(Start {
            speaker,
            boot: boot.to_owned(),
            sequence,
        });
        if self.seen.iter().filter(|start| of(start)).count() > REMEMBERED
            && let Some(oldest) = self.seen.iter().position(of)
        {
            self.seen.remove(oldest);
        }
    }

    /// The starts without how far each has come.
    #[must_use]
    pub fn without_sequences(&self) -> Self {
        let mut starts = self.clone();
        for start in &mut starts.seen {
            start.sequence = 0;
        }
        starts
    }

    /// Adds the starts of another node, which has turned out to be the same board.
    pub fn absorb(&mut self, other: &Self) {
        for start in &other.seen {
            self.note(start.speaker, &start.boot, start.sequence);
        }
    }

    fn last(&self, speaker: Trust) -> Option<&str> {
        let mut from_last = self.seen.iter().rev();
        let last = from_last.find(|start| start.speaker == speaker);
        last.map(|start| &*start.boot)
    }
}

/// Whether this is a valid name of a start. Its length is limited, because a part of every report is kept.
#[must_use]
pub fn is_boot(boot: &str) -> bool {
    (1..=LONGEST).contains(&boot.len())
        && boot
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_once_and_in_its_order() {
        let mut starts = Starts::default();
        let is_new = |starts: &Starts, boot, sequence| {
            starts.is_new(Kind::Progress, Trust::Card, boot, sequence)
        };
        for (boot, sequence) in [("a", 1), ("a", 2), ("b", 1)] {
            assert!(is_new(&starts, boot, sequence), "{boot} {sequence}");
            starts.note(Trust::Card, boot, sequence);
        }
        for (boot, sequence) in [("b", 1), ("b", 0), ("a", 2), ("a", 3)] {
            assert!(!is_new(&starts, boot, sequence), "{boot} {sequence}");
        }
        assert!(is_new(&starts, "b", 2) && is_new(&starts, "c", 0));
    }

    #[test]
    fn a_receipt_of_the_start_before_may_come_late_once() {
        let mut starts = Starts::default();
        for (boot, sequence) in [("a", 7), ("b", 1)] {
            starts.note(Trust::Card, boot, sequence);
        }
        assert!(starts.is_new(Kind::Receipt, Trust::Card, "a", 8));
        assert!(!starts.is_present(Trust::Card, "a"));
        starts.note(Trust::Card, "a", 8);
        assert!(!starts.is_new(Kind::Receipt, Trust::Card, "a", 8));
        assert!(
            starts.is_new(Kind::Progress, Trust::Card, "b", 2),
            "the present start goes on"
        );
    }

    #[test]
    fn no_speaker_silences_another() {
        let mut starts = Starts::default();
        starts.note(Trust::Card, "a", 1);
        for other in [Trust::Nobody, Trust::Node] {
            starts.note(other, "a", u64::MAX);
            for boot in 0..1000 {
                starts.note(other, &boot.to_string(), 1);
            }
        }
        assert!(starts.is_new(Kind::Progress, Trust::Card, "a", 2));
        assert!(!starts.is_new(Kind::Progress, Trust::Card, "a", 1));
        assert_eq!(starts.seen.len(), 1 + 2 * REMEMBERED);
    }

    #[test]
    fn a_start_has_a_short_name() {
        for boot in ["0123456789abcdef", "n", &"a".repeat(32)] {
            assert!(is_boot(boot), "{boot}");
        }
        for boot in ["", "a b", "\u{e9}", &"a".repeat(33)] {
            assert!(!is_boot(boot), "{boot}");
        }
    }
}
