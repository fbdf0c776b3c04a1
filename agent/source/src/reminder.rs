//! When to report a silent server to a person.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shorter silences are common and say nothing.
const WORTH_A_WORD: Duration = Duration::from_secs(5);
/// Between two lines about the same silence.
const AGAIN: Duration = Duration::from_secs(30);

/// Knows when a line is due that a server is silent, whichever of its connections waits.
#[derive(Debug, Default)]
pub struct Reminder {
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    heard: Option<Instant>,
    said: Option<Instant>,
}

impl Reminder {
    /// The server said something.
    pub fn heard(&self) {
        let now = Instant::now();
        self.change(|state| state.heard = Some(now));
    }

    /// Whether the server as a whole is silent for so long that it should be shown.
    pub fn is_silent(&self, silent: Duration) -> bool {
        let now = Instant::now();
        self.change(|state| state.is_silent(silent, now))
    }

    /// Whether a line about it is due. Then it counts as written.
    pub fn is_due(&self, silent: Duration) -> bool {
        let now = Instant::now();
        self.change(|state| state.is_due(silent, now))
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn is_silent(&self, silent: Duration, now: Instant) -> bool {
        let heard = self.heard.map(|heard| now.duration_since(heard));
        heard.unwrap_or(silent).min(silent) >= WORTH_A_WORD
    }

    fn is_due(&mut self, silent: Duration, now: Instant) -> bool {
        let said = self.said.map(|said| now.duration_since(said));
        let is_due = self.is_silent(silent, now) && said.is_none_or(|ago| ago >= AGAIN);
        if is_due {
            self.said = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::State;

    fn due(state: &mut State, silences: &[(u64, u64)]) -> Vec<u64> {
        let start = Instant::now();
        let mut due = Vec::new();
        for (at, silent) in silences {
            let now = start + Duration::from_secs(*at);
            if state.is_due(Duration::from_secs(*silent), now) {
                due.push(*at);
            }
        }
        due
    }

    #[test]
    fn a_line_comes_after_five_seconds_and_then_rarely() {
        // Four connections. Each says once a second for how long it has waited.
        let silences: Vec<_> = (1..=70).flat_map(|at| [(at, at); 4]).collect();
        assert_eq!(due(&mut State::default(), &silences), [5, 35, 65]);
    }

    #[test]
    fn one_connection_of_several_that_waits_is_no_silence() {
        let mut state = State {
            heard: Some(Instant::now() + Duration::from_secs(8)),
            said: None,
        };
        assert!(due(&mut state, &[(10, 10), (12, 12)]).is_empty());
        assert_eq!(due(&mut state, &[(14, 14)]), [14]);
    }
}
