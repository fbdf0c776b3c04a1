//! Which reports were seen: an old one that somebody sends again must open no door.

use gild_report::Kind;
use serde::{Deserialize, Serialize};

use super::Trust;

/// So many earlier starts of a board are remembered.
const REMEMBERED: usize = 64;

/// The starts of one board, the present ones last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starts {
    seen: Vec<Start>,
}

/// One start, as far as one kind of speaker has reported it: what nobody vouches for does not count against what somebody does, or
/// anybody could silence a board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Start {
    of_flasher: bool,
    vouched: bool,
    boot: String,
    sequence: u64,
}

impl Starts {
    /// Whether this is neither a report that was seen nor an earlier one.
    #[must_use]
    pub fn is_new(&self, kind: Kind, trust: Trust, boot: &str, sequence: u64) -> bool {
        let mut alike = self.seen.iter().filter(|start| start.is_of(kind, trust));
        if self.last(kind, trust) == Some(boot) {
            return alike.any(|start| start.boot == boot && start.sequence < sequence);
        }
        // Of an earlier start only a receipt may come late, and only once.
        !alike.any(|start| {
            start.boot == boot && (kind != Kind::Receipt || start.sequence >= sequence)
        })
    }

    /// Whether this is of the start that spoke last, or of a later one.
    #[must_use]
    pub fn is_present(&self, kind: Kind, trust: Trust, boot: &str) -> bool {
        let knows = |start: &Start| start.is_of(kind, trust) && start.boot == boot;
        self.last(kind, trust) == Some(boot) || !self.seen.iter().any(knows)
    }

    /// Notes a report.
    pub fn note(&mut self, kind: Kind, trust: Trust, boot: &str, sequence: u64) {
        let of = |start: &Start| start.is_of(kind, trust);
        let known = self
            .seen
            .iter_mut()
            .find(|start| of(start) && start.boot == boot);
        if let Some(start) = known {
            start.sequence = start.sequence.max(sequence);
            return;
        }
        self.seen.push(Start {
            of_flasher: kind != Kind::Node,
            vouched: trust != Trust::Nobody,
            boot: boot.to_owned(),
            sequence,
        });
        if self.seen.iter().filter(|start| of(start)).count() > REMEMBERED
            && let Some(oldest) = self.seen.iter().position(of)
        {
            self.seen.remove(oldest);
        }
    }

    fn last(&self, kind: Kind, trust: Trust) -> Option<&str> {
        let mut from_last = self.seen.iter().rev();
        let last = from_last.find(|start| start.is_of(kind, trust));
        last.map(|start| &*start.boot)
    }
}

impl Start {
    fn is_of(&self, kind: Kind, trust: Trust) -> bool {
        self.of_flasher == (kind != Kind::Node) && self.vouched == (trust != Trust::Nobody)
    }
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
            starts.note(Kind::Progress, Trust::Card, boot, sequence);
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
            starts.note(Kind::Progress, Trust::Card, boot, sequence);
        }
        assert!(starts.is_new(Kind::Receipt, Trust::Card, "a", 8));
        assert!(!starts.is_present(Kind::Receipt, Trust::Card, "a"));
        starts.note(Kind::Receipt, Trust::Card, "a", 8);
        assert!(!starts.is_new(Kind::Receipt, Trust::Card, "a", 8));
        assert!(
            starts.is_new(Kind::Progress, Trust::Card, "b", 2),
            "the present start goes on"
        );
    }

    #[test]
    fn what_nobody_vouches_for_silences_nobody() {
        let mut starts = Starts::default();
        starts.note(Kind::Progress, Trust::Card, "a", 1);
        starts.note(Kind::Progress, Trust::Nobody, "a", u64::MAX);
        for boot in 0..1000 {
            starts.note(Kind::Node, Trust::Nobody, &boot.to_string(), 1);
        }
        assert!(starts.is_new(Kind::Progress, Trust::Card, "a", 2));
        assert!(!starts.is_new(Kind::Progress, Trust::Card, "a", 1));
        assert!(starts.is_new(Kind::Node, Trust::Node, "999", 1));
    }
}
