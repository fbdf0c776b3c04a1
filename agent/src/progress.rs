//! Turns the reports of the flash engine into LED patterns, signs of life for the watchdog, and lines for the console.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gild_flash::{Event, Observer, Stage as Work};
use log::{info, warn};

use crate::discards::Discards;
use crate::led::Pattern;
use crate::machine::Machine;
use crate::stage::Stage;

/// A line is due whenever another tenth is done, or when there was no line for this long.
const SILENCE: Duration = Duration::from_secs(30);

/// How far a stage has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// How much of it is done.
    pub percent: u8,
    /// How fast, since it began.
    pub bytes_per_second: u64,
    /// How much longer it takes, at that rate.
    pub seconds_left: u64,
}

/// Watches one flash.
pub struct Progress<'a> {
    machine: &'static Machine,
    discards: &'a Discards,
    meter: Mutex<Meter>,
}

impl<'a> Progress<'a> {
    /// Watches for the machine, and counts the discards.
    pub fn new(machine: &'static Machine, discards: &'a Discards) -> Self {
        Self {
            machine,
            discards,
            meter: Mutex::new(Meter::new(Work::Prepare, Instant::now())),
        }
    }

    fn begin(&self, work: Work) {
        *self.meter.lock().unwrap_or_else(PoisonError::into_inner) =
            Meter::new(work, Instant::now());
        if work != Work::Prepare {
            self.discards.end();
        }
        match work {
            // The stage `flash` has already begun with the step, so only the pattern changes.
            Work::Prepare | Work::Scan | Work::Write => self.machine.show(pattern(work)),
            Work::Verify => self.machine.enter(Stage::Verify),
            Work::Commit => self.machine.enter(Stage::Commit),
        }
    }
}

fn pattern(work: Work) -> Pattern {
    match work {
        Work::Prepare | Work::Write => Pattern::Writing,
        Work::Scan | Work::Verify | Work::Commit => Pattern::Verifying,
    }
}

impl Observer for Progress<'_> {
    fn may_discard(&self) -> bool {
        self.discards.begin()
    }

    fn event(&self, event: Event<'_>) {
        self.machine.alive();
        match event {
            Event::Stage(work) => self.begin(work),
            Event::Progress { stage, done, total } => {
                self.machine.got_on(pattern(stage));
                let now = Instant::now();
                let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
                let measure = meter.measure(stage, done, total, now);
                let line = measure.and_then(|measure| meter.line(measure, now));
                if let (Some(measure), Work::Write | Work::Verify) = (measure, stage) {
                    self.machine.reporter.measured(measure);
                }
                if let Some(line) = line {
                    info!("{line}");
                }
                // Until here, so that the lines of several threads come in their order.
                drop(meter);
            }
            Event::Resumed { kept, total } => {
                info!("resume: {kept} of {total} chunks already on the disk");
            }
            Event::Retry {
                chunk,
                attempt,
                reason,
            } => warn!("chunk {chunk}, attempt {attempt}: {reason}; fetching it again"),
            Event::HoleUnreadable { attempt, reason } => {
                warn!("attempt {attempt}: {reason}; making it zero again");
            }
            Event::ZeroingFailed { offset } => {
                warn!(
                    "the disk said that byte {offset} is zero, and it is not: writing all zeros out"
                );
            }
        }
    }
}

/// Measures one stage, and says when a line about it is due.
struct Meter {
    work: Work,
    began: Instant,
    spoke: Instant,
    tenths: u8,
}

impl Meter {
    fn new(work: Work, now: Instant) -> Self {
        Self {
            work,
            began: now,
            spoke: now,
            tenths: 0,
        }
    }

    /// How far the stage has got. `None` for a late report about the previous stage.
    fn measure(&self, work: Work, done: u64, total: u64, now: Instant) -> Option<Measure> {
        if work != self.work || total == 0 {
            return None;
        }
        let percent = u128::from(done) * 100 / u128::from(total);
        let elapsed = now.duration_since(self.began).as_secs_f64().max(0.001);
        let rate = float(done) / elapsed;
        let left = float(total.saturating_sub(done)) / rate.max(1.0);
        Some(Measure {
            percent: u8::try_from(percent).unwrap_or(100).min(100),
            bytes_per_second: whole(rate),
            seconds_left: whole(left),
        })
    }

    /// A line is due with each tenth, and after a long silence.
    fn line(&mut self, measure: Measure, now: Instant) -> Option<String> {
        let tenths = measure.percent / 10;
        if tenths <= self.tenths && now.duration_since(self.spoke) < SILENCE {
            return None;
        }
        self.tenths = self.tenths.max(tenths);
        self.spoke = now;
        let Measure {
            percent,
            bytes_per_second,
            seconds_left,
        } = measure;
        Some(format!(
            "progress {percent} % {}, {:.0} MB/s, {seconds_left} s left",
            match self.work {
                Work::Prepare => "prepared",
                Work::Scan => "of what is on the disk hashed",
                Work::Write => "written",
                Work::Verify => "of the rest verified",
                Work::Commit => "committed",
            },
            float(bytes_per_second) / 1e6,
        ))
    }
}

#[allow(clippy::cast_precision_loss, reason = "a rate for a person to read")]
fn float(number: u64) -> f64 {
    number as f64
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is not negative, and what is too large becomes the largest number"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Meter {
        fn says(&mut self, work: Work, done: u64, total: u64, now: Instant) -> Option<String> {
            let measure = self.measure(work, done, total, now)?;
            self.line(measure, now)
        }
    }

    #[test]
    fn a_line_comes_with_each_tenth_and_after_a_long_silence() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut meter = Meter::new(Work::Write, start);
        assert_eq!(meter.says(Work::Write, 9_000_000, 100_000_000, at(1)), None);
        assert_eq!(
            meter
                .says(Work::Write, 20_000_000, 100_000_000, at(2))
                .as_deref(),
            Some("progress 20 % written, 10 MB/s, 8 s left")
        );
        assert_eq!(
            meter.says(Work::Write, 29_000_000, 100_000_000, at(3)),
            None
        );
        assert!(
            meter
                .says(Work::Write, 29_000_000, 100_000_000, at(32))
                .is_some(),
            "thirty seconds of silence"
        );
        assert!(
            meter
                .says(Work::Write, 100_000_000, 100_000_000, at(33))
                .is_some()
        );
    }

    #[test]
    fn late_news_of_another_stage_and_an_empty_stage_say_nothing() {
        let start = Instant::now();
        let mut meter = Meter::new(Work::Verify, start);
        assert_eq!(meter.says(Work::Write, 100, 100, start), None);
        assert_eq!(meter.says(Work::Verify, 0, 0, start), None);
    }

    #[test]
    fn numbers_at_their_limits_do_no_harm() {
        let start = Instant::now();
        let mut meter = Meter::new(Work::Write, start);
        assert!(meter.says(Work::Write, u64::MAX, u64::MAX, start).is_some());
        let most = meter.measure(Work::Write, u64::MAX, 1, start).expect("one");
        assert_eq!((most.percent, most.seconds_left), (100, 0));
    }
}
