//! Keeps the lines of the console on the card, those of this start and of the last starts before it, for anyone who was not there.
//!
//! It writes the card only together with a receipt, and not in the middle of a flash. Like every file, this one is replaced as a whole. No
//! line has a secret, because the console has none.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gild_card_format::names::console_log;
use log::warn;

use crate::card::folder::Folder;
use crate::machine::Machine;
use crate::node::Node;

/// The longest file, bytes. A start without trouble has 4 KiB.
const MOST: usize = 256 << 10;
/// How many bytes of this start's first lines are kept, and of its last lines.
const FIRST: usize = 16 << 10;
const LAST: usize = 48 << 10;
/// The shortest time between writes when faults alternate, because a card wears.
const PAUSE: Duration = Duration::from_mins(10);
/// The beginning of the line that begins a start.
const START: &str = "=== start ";

/// The lines of this start. All clones share them.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    first: String,
    last: VecDeque<String>,
    last_bytes: usize,
    left_out: usize,
    /// When the card was written.
    written: Option<Instant>,
}

impl Journal {
    /// Notes lines of the console, with the time since the board started.
    pub fn note(&self, text: &str, time: Duration) {
        let mut lines = self.lines();
        for line in text.lines() {
            lines.note(format!("{:9.3} {line}\n", time.as_secs_f64()));
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_due(&self) -> bool {
        let written = self.lines().written;
        written.is_none_or(|written| written.elapsed() >= PAUSE)
    }
}

impl Lines {
    fn note(&mut self, line: String) {
        let is_first = self.last.is_empty() && self.left_out == 0;
        if is_first && self.first.len() + line.len() <= FIRST {
            self.first += &line;
            return;
        }
        self.last_bytes += line.len();
        self.last.push_back(line);
        while self.last_bytes > LAST {
            let Some(line) = self.last.pop_front() else {
                return;
            };
            self.last_bytes -= line.len();
            self.left_out += 1;
        }
    }

    fn text(&self) -> String {
        let gap = match self.left_out {
            0 => String::new(),
            left_out => format!("... {left_out} lines are left out\n"),
        };
        let last = self.last.iter().map(String::as_str);
        [&*self.first, &*gap].into_iter().chain(last).collect()
    }
}

/// Writes the lines so far to the card.
pub fn keep(machine: &Machine, node: &Node) {
    let Some(card) = &node.card else { return };
    let boot = machine.reporter.boot();
    let text = machine.journal.lines().text();
    if let Err(error) = keep_on(card, &node.id(), &boot, &text) {
        warn!("the log is not on the card: {error}");
    }
    machine.journal.lines().written = Some(Instant::now());
}

/// The same, unless the card was written a short time ago.
pub fn keep_if_due(machine: &Machine, node: &Node) {
    if machine.journal.is_due() {
        keep(machine, node);
    }
}

fn keep_on(card: &dyn Folder, id: &str, boot: &str, text: &str) -> io::Result<()> {
    let name = console_log(id);
    let before = card.read(&name)?.unwrap_or_default();
    let after = joined(&String::from_utf8_lossy(&before), boot, text);
    card.write(&name, after.as_bytes())
}

/// The file with the lines of this start added. If it gets too long, it loses whole lines at its beginning.
fn joined(before: &str, boot: &str, text: &str) -> String {
    let head = format!("{START}{boot}, gild {} ===\n", crate::version::VERSION);
    let own = before.find(&format!("{START}{boot},"));
    let earlier = &before[..own.unwrap_or(before.len())];
    let room = MOST.saturating_sub(head.len() + text.len());
    let mut from = earlier.len().saturating_sub(room);
    if from > 0 {
        from = earlier.as_bytes()[from - 1..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(earlier.len(), |end| from + end);
    }
    [&earlier[from..], &head, text].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_order::stand_in::{MemoryCard, Power};

    fn text(journal: &Journal) -> String {
        journal.lines().text()
    }

    #[test]
    fn the_first_and_the_last_lines_of_a_start_are_kept_whatever_it_says() {
        let journal = Journal::default();
        journal.note(
            "gild: agent starting\ngild: stage board\n",
            Duration::from_millis(1500),
        );
        assert_eq!(
            text(&journal),
            "    1.500 gild: agent starting\n    1.500 gild: stage board\n"
        );
        for number in 0..100_000 {
            journal.note(&format!("line {number}"), Duration::from_secs(2));
        }
        let text = text(&journal);
        assert!(text.len() <= FIRST + LAST + 100, "{}", text.len());
        assert!(text.starts_with("    1.500 gild: agent starting\n"));
        assert!(text.ends_with("    2.000 line 99999\n"));
        assert!(text.contains(" lines are left out\n"));
    }

    #[test]
    fn a_line_longer_than_all_is_left_out() {
        let journal = Journal::default();
        journal.note(&"x".repeat(FIRST + LAST), Duration::ZERO);
        journal.note("last", Duration::ZERO);
        assert_eq!(text(&journal), "... 1 lines are left out\n    0.000 last\n");
    }

    #[test]
    fn earlier_starts_stay_and_this_one_is_there_once() {
        let one = joined("", "a", "1\n");
        let two = joined(&one, "b", "2\n");
        let again = joined(&two, "b", "2\n3\n");
        let version = crate::version::VERSION;
        assert_eq!(
            again,
            format!("=== start a, gild {version} ===\n1\n=== start b, gild {version} ===\n2\n3\n")
        );
    }

    #[test]
    fn the_file_stays_within_its_bound_and_loses_whole_lines_at_its_beginning() {
        let mut file = String::new();
        for start in 0..40 {
            let line = format!("line of start {start} é\n");
            file = joined(&file, &format!("boot{start}"), &line.repeat(1000));
            assert!(file.len() <= MOST, "{}", file.len());
        }
        assert!(file.len() > MOST - 100, "{}", file.len());
        let first = file.lines().next().expect("a line");
        assert!(
            first.starts_with("line of") || first.starts_with(START),
            "{first}"
        );
        assert!(file.ends_with("line of start 39 é\n"));
        let alone = joined(&file, "huge", &"x\n".repeat(MOST));
        assert!(
            alone.starts_with("=== start huge"),
            "no earlier line has room"
        );
        // Another program's file without a line break.
        let other = joined(&"x".repeat(2 * MOST), "a", "1\n");
        assert!(other.starts_with("=== start a"));
    }

    #[test]
    fn a_power_cut_leaves_the_file_of_before() {
        let power = Power::on();
        let card = MemoryCard::new(&power);
        keep_on(&card, "m", "a", "1\n").expect("a card");
        let before = card.text("gild-m.log").expect("a file");
        power.cut_after(0);
        keep_on(&card, "m", "b", "2\n").expect_err("the power went");
        power.restore();
        assert_eq!(card.text("gild-m.log"), Some(before));
        keep_on(&card, "m", "b", "2\n").expect("a card");
        assert!(card.text("gild-m.log").expect("a file").ends_with("2\n"));
    }
}
