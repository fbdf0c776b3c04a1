//! Patience with the image server: waits that are logged, and a limit to them.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use gild_source::{Backoff, Patience, Reminder, Trouble};
use log::info;

use crate::led::Pattern;
use crate::machine::Machine;

/// Longest wait between two attempts, because a server that is back should not stand idle.
const LONGEST: Duration = Duration::from_secs(5);

/// A server that is busy for longer than this is a fault, however often it asks to be left alone.
const LONGEST_LEFT_ALONE: Duration = Duration::from_mins(10);

/// Waits for the server until the machine's patience is over. Then it is a fault, and the story starts again.
pub struct ServerPatience {
    machine: &'static Machine,
    /// How long to wait for one answer.
    answer: Duration,
    backoff: Backoff,
    reminder: Reminder,
    /// What each reading thread has met.
    troubles: Mutex<HashMap<ThreadId, Failures>>,
    /// When a thread last got what it asked for.
    served: Mutex<Option<Instant>>,
    /// The patience of one thread has ended, and so that of all threads. Otherwise each thread would wait for its own answer, one after the
    /// other.
    is_over: AtomicBool,
    /// After this time nobody waits for the answer any more.
    end: Option<Instant>,
}

impl ServerPatience {
    /// Patience that has not been tried yet.
    pub fn new(machine: &'static Machine, answer: Duration) -> Self {
        Self {
            machine,
            answer,
            backoff: Backoff::forever()
                .at_most(LONGEST)
                .sleep_with(|time| machine.wait(time)),
            reminder: Reminder::default(),
            troubles: Mutex::new(HashMap::new()),
            served: Mutex::new(None),
            is_over: AtomicBool::new(false),
            end: None,
        }
    }

    /// Patience that ends after this time in any case. If a thread still runs then, it does not count as a sign of life.
    pub fn until(self, limit: Duration) -> Self {
        Self {
            end: Some(Instant::now() + limit),
            ..self
        }
    }

    fn last_served(&self) -> MutexGuard<'_, Option<Instant>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn troubles(&self) -> MutexGuard<'_, HashMap<ThreadId, Failures>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Patience for ServerPatience {
    fn wait(&self, attempt: u32, trouble: &dyn Trouble) -> bool {
        let now = Instant::now();
        let served = *self.last_served();
        let lasted = {
            let mut troubles = self.troubles();
            let failures = troubles.entry(thread::current().id()).or_default();
            let lasted = failures.failed(attempt, self.answer, served, now);
            failures.is_left_alone_for(trouble.least_wait());
            lasted
        };
        if lasted >= self.machine.patience() {
            self.is_over.store(true, Ordering::Relaxed);
        }
        if self.is_over() {
            return false;
        }
        info!("waiting: {trouble} (attempt {attempt})");
        self.machine.show(Pattern::WaitingForServer);
        self.backoff.wait(attempt, trouble)
    }

    fn got_on(&self) {
        self.reminder.heard();
        let mut troubles = self.troubles();
        if let Some(failures) = troubles.get_mut(&thread::current().id()) {
            failures.silent = Duration::ZERO;
        }
        drop(troubles);
        if !self.is_over() {
            self.machine.alive();
        }
    }

    fn served(&self) {
        *self.last_served() = Some(Instant::now());
    }

    fn is_over(&self) -> bool {
        let is_late = self.end.is_some_and(|end| Instant::now() >= end);
        is_late || self.is_over.load(Ordering::Relaxed)
    }

    fn waiting(&self, server: &dyn fmt::Display, silent: Duration) {
        self.troubles()
            .entry(thread::current().id())
            .or_default()
            .silent = silent;
        if self.is_over() {
            return;
        }
        self.machine.alive();
        if self.reminder.is_silent(silent) {
            self.machine.show(Pattern::WaitingForServer);
        }
        if self.reminder.is_due(silent) {
            info!(
                "waiting: {server} has not answered for {} s; it has {} s",
                silent.as_secs(),
                self.answer.as_secs()
            );
        }
    }
}

/// Failures in a row.
#[derive(Default)]
struct Failures {
    began: Option<Instant>,
    /// How long the present answer has been waited for.
    silent: Duration,
    /// The longest that one was.
    longest: Duration,
    /// How long the server has asked to be left alone, in all.
    asked: Duration,
}

impl Failures {
    /// How long the trouble has lasted at the end of this attempt. The longest silence is subtracted: a server that starts its disks may
    /// use the whole time for one answer and still deserves a second request. If the server has served another thread meanwhile, the
    /// trouble counts from then, because this thread had to wait for its turn.
    fn failed(
        &mut self,
        attempt: u32,
        answer: Duration,
        served: Option<Instant>,
        now: Instant,
    ) -> Duration {
        let silent = std::mem::take(&mut self.silent);
        if attempt == 1 {
            self.longest = Duration::ZERO;
            self.asked = Duration::ZERO;
            self.began = now.checked_sub(silent);
        }
        // An earlier silence or request to wait may have ended after that, so both still count.
        self.began = self.began.max(served.filter(|_| self.began.is_some()));
        self.longest = self.longest.max(silent);
        let began = *self.began.get_or_insert(now);
        now.duration_since(began)
            .saturating_sub(self.longest.min(answer))
            .saturating_sub(self.asked.min(LONGEST_LEFT_ALONE))
    }

    /// The server asks to be left alone for this time. So it is there.
    fn is_left_alone_for(&mut self, time: Duration) {
        self.asked = self.asked.saturating_add(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    const ANSWER: Duration = Duration::from_mins(1);

    /// The number of the attempt after which the patience ends. Each attempt fails after the first number of seconds. For the second number
    /// of them, the server held the connection and was silent.
    fn attempts(failures: &[(u64, u64)]) -> Option<usize> {
        let mut trouble = Failures::default();
        let mut now = Instant::now() + Duration::from_hours(1);
        failures
            .iter()
            .zip(1..)
            .position(|((took, silent), attempt)| {
                now += Duration::from_secs(*took);
                trouble.silent = Duration::from_secs(*silent);
                trouble.failed(attempt, ANSWER, None, now) >= PATIENCE
            })
    }

    #[test]
    fn a_server_that_is_silent_for_its_time_is_asked_once_more() {
        assert_eq!(attempts(&[(60, 60), (60, 60), (60, 60)]), Some(1));
        // It takes no connections at first, and starts its disks then.
        assert_eq!(attempts(&[(1, 0), (2, 0), (60, 60), (60, 60)]), Some(3));
        // It hangs, and is started again.
        assert_eq!(attempts(&[(60, 60), (10, 0), (10, 0), (9, 0)]), None);
    }

    #[test]
    fn a_server_that_is_off_is_a_fault_as_soon_as_the_patience_is_over() {
        assert_eq!(attempts(&[(5, 0), (10, 0), (10, 0), (10, 0)]), Some(3));
        // It vanishes in mid-connection: TCP says so after 20 s.
        assert_eq!(attempts(&[(20, 20), (10, 0), (10, 0), (10, 0)]), Some(3));
    }

    #[test]
    fn a_server_that_asks_to_be_left_alone_is_a_fault_after_ten_minutes() {
        let mut failures = Failures::default();
        let mut now = Instant::now();
        let mut ends = None;
        for attempt in 1..20 {
            if failures.failed(attempt, ANSWER, None, now) >= PATIENCE {
                ends = Some(attempt);
                break;
            }
            failures.is_left_alone_for(Duration::from_mins(2));
            now += Duration::from_mins(2);
        }
        assert_eq!(ends, Some(7), "after twelve minutes");
        failures.is_left_alone_for(Duration::MAX);
        failures.is_left_alone_for(Duration::MAX);
    }

    #[test]
    fn a_success_between_two_failures_ends_the_trouble() {
        let mut trouble = Failures::default();
        let now = Instant::now();
        assert_eq!(trouble.failed(1, ANSWER, None, now), Duration::ZERO);
        let later = now + Duration::from_hours(1);
        assert_eq!(trouble.failed(1, ANSWER, None, later), Duration::ZERO);
    }

    #[test]
    fn who_waits_for_a_turn_while_others_are_served_is_not_in_trouble() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut trouble = Failures::default();
        let mut failed = |attempt, served: Option<u64>, now| {
            let lasted = trouble.failed(attempt, ANSWER, served.map(at), at(now));
            lasted.as_secs()
        };
        assert_eq!(failed(1, None, 10), 0);
        assert_eq!(failed(2, Some(85), 90), 5, "its turn came after 80 s");
        assert_eq!(failed(3, Some(85), 110), 25);
        assert_eq!(failed(4, Some(85), 120), 35, "nobody is served any more");
        assert_eq!(failed(1, Some(85), 200), 0);
        assert_eq!(failed(2, Some(85), 240), 40, "that was before its trouble");
        trouble.is_left_alone_for(Duration::from_mins(2));
        let lasted = trouble.failed(3, ANSWER, Some(at(250)), at(370));
        assert_eq!(lasted, Duration::ZERO, "it was left alone all the time");
    }
}
