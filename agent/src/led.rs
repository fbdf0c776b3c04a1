//! The status LED. It informs a person who has no screen.
//!
//! A pattern is a cycle of phases, lit or dark. The table of patterns is [`Pattern::phases`]; `docs/failures.md`
//! and `docs/led-card.md` are tested against it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use gild_faults::Fault;
use gild_faults::led::{IDENTIFIES, STILL_NEEDS_THE_CARD};

const LEDS: &str = "/sys/class/leds";

/// What the LED says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// The agent has begun.
    Starting,
    /// No link or no address yet.
    WaitingForNetwork,
    /// The image server has not answered yet.
    WaitingForServer,
    /// The target is being read back.
    Verifying,
    /// The target is being written.
    Writing,
    /// The board restarts, and the next start still needs the card. Either the image has not proven itself, or the ROM is about to write
    /// the EEPROM.
    Trying,
    /// The target carries an image that has proven itself, and nothing is pending: the card may be taken out.
    Done,
    /// An order asks which board this is.
    Identifying,
    /// Something is wrong.
    Fault(Fault),
}

/// One phase of a pattern: lit or dark, for some milliseconds.
type Phase = (bool, u64);

impl Pattern {
    /// The cycle that is repeated for as long as the pattern is shown.
    fn phases(self) -> Vec<Phase> {
        match self {
            Self::Starting => vec![(false, 1000)],
            Self::WaitingForNetwork => blinks_each_second(1),
            Self::WaitingForServer => blinks_each_second(2),
            Self::Verifying => blinks_each_second(3),
            Self::Writing => vec![(true, 100), (false, 100)],
            Self::Trying => blinks_as(STILL_NEEDS_THE_CARD),
            Self::Identifying => blinks_as(IDENTIFIES),
            Self::Done => vec![(true, 1000)],
            Self::Fault(fault) => fault_cycle(fault.number()),
        }
    }

    /// Whether the LED is lit this long after the pattern began, and for how much longer it stays like that.
    fn at(self, elapsed: Duration) -> (bool, Duration) {
        let phases = self.phases();
        let cycle: u64 = phases.iter().map(|(_, millis)| millis).sum();
        let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX) % cycle;
        let mut end = 0;
        for (lit, millis) in phases {
            end += millis;
            if elapsed < end {
                return (lit, Duration::from_millis(end - elapsed));
            }
        }
        (false, Duration::from_millis(cycle))
    }
}

fn blinks_as((lit, dark): (u64, u64)) -> Vec<Phase> {
    vec![(true, lit), (false, dark)]
}

fn blinks_each_second(count: u64) -> Vec<Phase> {
    let mut phases = [(true, 100), (false, 150)].repeat(usize::try_from(count).unwrap_or(0));
    phases.push((false, 1000 - count * 250));
    phases
}

/// It begins with a flicker. The Raspberry Pi's own firmware blinks numbers too, but never flickers.
fn fault_cycle(number: u8) -> Vec<Phase> {
    let mut phases = [(true, 50), (false, 50)].repeat(10);
    phases.push((false, 1000));
    phases.extend([(true, 500), (false, 500)].repeat(usize::from(number)));
    phases.push((false, 1000));
    phases
}

/// The LED and the thread that drives it.
#[derive(Clone)]
pub struct Led {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    pattern: Pattern,
    since: Instant,
    /// From the first of these times to the second, the LED identifies the board, unless there is a fault.
    identify: Option<(Instant, Instant)>,
    /// Names under `/sys/class/leds`, in order of preference. A board may have none of them.
    names: &'static [String],
}

impl Led {
    /// Starts the thread. There is no LED until [`Led::attach`] names some.
    pub fn start() -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                pattern: Pattern::Starting,
                since: Instant::now(),
                identify: None,
                names: &[],
            }),
            changed: Condvar::new(),
        });
        let led = Self {
            shared: Arc::clone(&shared),
        };
        thread::spawn(move || drive(&shared));
        led
    }

    /// Says which LEDs the board has.
    pub fn attach(&self, names: &'static [String]) {
        self.state().names = names;
        self.shared.changed.notify_all();
    }

    /// Shows a pattern from its beginning. If the pattern is already shown, it continues.
    pub fn show(&self, pattern: Pattern) {
        let mut state = self.state();
        if state.pattern != pattern {
            state.pattern = pattern;
            state.since = Instant::now();
            self.shared.changed.notify_all();
        }
    }

    /// Identifies the board for this time, whatever else is shown. A fault still has priority.
    pub fn identify(&self, time: Option<Duration>) {
        let now = Instant::now();
        let mut state = self.state();
        let began = state.identify.map_or(now, |(began, _)| began);
        let end = time.and_then(|time| now.checked_add(time));
        state.identify = end.map(|end| (began, end));
        self.shared.changed.notify_all();
    }

    /// What is shown.
    #[cfg(test)]
    pub fn shown(&self) -> Pattern {
        self.state().shown(Instant::now()).0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }
}

impl State {
    /// What is shown now, and since when.
    fn shown(&self, now: Instant) -> (Pattern, Instant) {
        match (self.pattern, self.identify) {
            (Pattern::Fault(_), _) | (_, None) => (self.pattern, self.since),
            (_, Some((began, end))) if now < end => (Pattern::Identifying, began),
            (_, Some(_)) => (self.pattern, self.since),
        }
    }
}

/// The LED continues to blink after a thread has panicked.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn drive(shared: &Shared) {
    let mut found: Option<PathBuf> = None;
    let mut shown = None;
    let mut state = lock(&shared.state);
    loop {
        let (pattern, since) = state.shown(Instant::now());
        let (lit, rest) = pattern.at(since.elapsed());
        if found.is_none() {
            found = find(Path::new(LEDS), state.names);
        }
        if let Some(led) = &found
            && shown != Some(lit)
        {
            // If an LED cannot be written, that is not worth a message: the console and the card say the same as the LED.
            let _ = fs::write(led.join("brightness"), if lit { "255" } else { "0" });
            shown = Some(lit);
        }
        state = shared
            .changed
            .wait_timeout(state, rest)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}

/// The first LED that exists. It is taken from the kernel's own trigger.
fn find(leds: &Path, names: &[String]) -> Option<PathBuf> {
    let led = names
        .iter()
        .map(|name| leds.join(name))
        .find(|led| led.exists())?;
    let _ = fs::write(led.join("trigger"), "none");
    Some(led)
}

#[cfg(test)]
mod tests {
    use gild_faults::Policy;

    use super::*;

    /// Lit stretches of the first cycle: start and length in milliseconds.
    fn blinks(pattern: Pattern) -> Vec<(u64, u64)> {
        let mut start = 0;
        let mut blinks = Vec::new();
        for (lit, millis) in pattern.phases() {
            if lit {
                blinks.push((start, millis));
            }
            start += millis;
        }
        blinks
    }

    fn cycle(pattern: Pattern) -> u64 {
        pattern.phases().iter().map(|(_, millis)| millis).sum()
    }

    #[test]
    fn waiting_and_verifying_are_told_apart_by_their_blinks_each_second() {
        for (pattern, count) in [
            (Pattern::WaitingForNetwork, 1),
            (Pattern::WaitingForServer, 2),
            (Pattern::Verifying, 3),
        ] {
            assert_eq!(blinks(pattern).len(), count, "{pattern:?}");
            assert_eq!(cycle(pattern), 1000, "{pattern:?}");
        }
    }

    #[test]
    fn writing_is_five_hertz_starting_is_dark_and_done_is_lit() {
        assert_eq!(cycle(Pattern::Writing), 200);
        assert_eq!(blinks(Pattern::Writing), [(0, 100)]);
        for millis in [0, 999, 12_345] {
            let elapsed = Duration::from_millis(millis);
            assert!(!Pattern::Starting.at(elapsed).0);
            assert!(Pattern::Done.at(elapsed).0);
        }
    }

    #[test]
    fn whichever_board_is_asked_for_shows_it_and_hides_no_fault() {
        let led = Led::start();
        led.show(Pattern::Writing);
        led.identify(Some(Duration::from_mins(1)));
        assert_eq!(led.shown(), Pattern::Identifying);
        led.show(Pattern::Fault(Fault::NoTarget));
        assert_eq!(led.shown(), Pattern::Fault(Fault::NoTarget));
        led.show(Pattern::Verifying);
        assert_eq!(led.shown(), Pattern::Identifying);
        led.identify(Some(Duration::ZERO));
        assert_eq!(led.shown(), Pattern::Verifying, "its time is over");
        led.identify(None);
        assert_eq!(led.shown(), Pattern::Verifying);
    }

    #[test]
    fn a_fault_flickers_and_then_blinks_its_number_slowly() {
        for fault in Fault::ALL {
            let blinks = blinks(Pattern::Fault(fault));
            let slow = blinks.iter().filter(|(_, length)| *length >= 500).count();
            assert_eq!(slow, usize::from(fault.number()));
            assert!(
                blinks[..10].iter().all(|(_, length)| *length == 50),
                "the flicker comes first"
            );
            assert!(
                blinks[10].0 - (blinks[9].0 + blinks[9].1) >= 1000,
                "a pause parts the two"
            );
        }
    }

    #[test]
    fn a_pattern_repeats_and_says_when_it_changes() {
        let pattern = Pattern::WaitingForNetwork;
        assert_eq!(
            pattern.at(Duration::from_millis(30)),
            (true, Duration::from_millis(70))
        );
        assert_eq!(
            pattern.at(Duration::from_millis(100)),
            (false, Duration::from_millis(150))
        );
        assert_eq!(
            pattern.at(Duration::from_hours(1)),
            (true, Duration::from_millis(100))
        );
    }

    const FAILURES: (&str, &str) = ("docs/failures.md", include_str!("../../docs/failures.md"));
    const CARD: (&str, &str) = ("docs/led-card.md", include_str!("../../docs/led-card.md"));

    /// The page must have the whole table, so the test also finds a row that is wrong by now.
    fn assert_tells((name, text): (&str, &str), head: &str, rows: &[String]) {
        let line = head
            .split(" | ")
            .map(|_| "---")
            .collect::<Vec<_>>()
            .join(" | ");
        let table = format!("| {head} |\n| {line} |\n| {} |\n", rows.join(" |\n| "));
        assert!(
            text.contains(&format!("\n\n{table}\n")),
            "{name} should have the table:\n{table}"
        );
    }

    #[test]
    fn the_documents_tell_every_pattern() {
        let look = |pattern| match (cycle(pattern), blinks(pattern).as_slice()) {
            (_, []) => "dark".to_owned(),
            (cycle, [(0, lit)]) if *lit == cycle => "lit".to_owned(),
            (2000, [(0, 1000)]) => "lit for a second, dark for a second".to_owned(),
            (1000, [(0, lit)]) if *lit > 500 => "lit, with a short gap each second".to_owned(),
            (1000, [_]) => "1 short blink each second".to_owned(),
            (1000, blinks) => format!("{} short blinks each second", blinks.len()),
            (cycle, _) => format!("{} blinks each second", 1000 / cycle),
        };
        let rows = [
            (Pattern::Starting, "is starting"),
            (Pattern::WaitingForNetwork, "waits for the network"),
            (Pattern::WaitingForServer, "waits for the image server"),
            (Pattern::Verifying, "reads the disk back"),
            (Pattern::Writing, "writes the disk or the boot order"),
            (Pattern::Trying, "reboots, and still needs the card"),
            (Pattern::Trying, "runs, and its image is on trial, or its boot order is to be changed"),
            (Pattern::Done, "is done, and reboots. The receipt says whether the card may be taken out"),
            (Pattern::Done, "runs, its image is proven, and nothing is pending"),
            (Pattern::Identifying, "shows which board it is, because an order asks for that. A node that runs shows it, too"),
        ]
        .map(|(pattern, meaning)| format!("{} | {meaning}", look(pattern)));
        for document in [FAILURES, CARD] {
            assert_tells(document, "LED | the node", &rows);
        }
    }

    #[test]
    fn the_documents_tell_every_fault() {
        let rows = Fault::ALL.map(|fault| {
            let policy = match fault.policy() {
                Policy::RetryForever => "tries again forever",
                Policy::Bounded => "tries three times, then holds",
                Policy::Hold => "holds",
            };
            let (number, meaning) = (fault.number(), fault.meaning());
            let next_step = fault.next_step();
            format!("{number} | {meaning} | {policy} | {next_step}")
        });
        assert_tells(FAILURES, "blinks | meaning | the node | to do", &rows);
        let rows = Fault::ALL.map(|fault| {
            let (number, meaning) = (fault.number(), fault.meaning());
            format!("{number} | {meaning} | {}", fault.next_step())
        });
        assert_tells(CARD, "blinks | meaning | to do", &rows);
    }

    #[test]
    fn the_first_led_that_exists_is_taken_from_its_trigger() {
        let leds = tempfile::tempdir().expect("a directory");
        let pwr = leds.path().join("PWR");
        fs::create_dir(&pwr).expect("an LED");
        let names = ["ACT".to_owned(), "PWR".to_owned()];
        assert_eq!(find(leds.path(), &names), Some(pwr.clone()));
        assert_eq!(
            fs::read_to_string(pwr.join("trigger")).expect("its trigger"),
            "none"
        );
        assert_eq!(find(leds.path(), &names[..1]), None);
    }
}
