//! Progress on stderr: a bar on a terminal, a line per ten per cent otherwise.

use std::cell::RefCell;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a sign of life moves.
const TICK: Duration = Duration::from_millis(250);

/// Progress through a known number of bytes.
pub struct Progress {
    what: &'static str,
    total: u64,
    done: u64,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts at zero.
    pub fn new(what: &'static str, total: u64) -> Self {
        let style = "{prefix} {wide_bar} {percent} % {bytes_per_sec} {eta}";
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total).with_prefix(what);
            bar.with_style(
                ProgressStyle::with_template(style)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            )
        });
        Self {
            what,
            total,
            done: 0,
            started: Instant::now(),
            bar,
        }
    }

    /// So many bytes more are done.
    pub fn add(&mut self, bytes: u64) {
        let tenths = |done: u64| (done * 10).checked_div(self.total).unwrap_or(10);
        let before = tenths(self.done);
        self.done += bytes;
        match &self.bar {
            Some(bar) => bar.set_position(self.done),
            None if tenths(self.done) > before => {
                let micros = self.started.elapsed().as_micros().max(1);
                let rate = u128::from(self.done) / micros;
                log::info!("{}: {} %, {rate} MB/s", self.what, tenths(self.done) * 10);
            }
            None => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The stages of a build, each with the time it took.
pub struct Stages {
    started: Instant,
    current: RefCell<Option<(String, Instant)>>,
    /// On a terminal, a line below all others that moves, and says what is being done and for how long.
    life: RefCell<Option<ProgressBar>>,
}

impl Stages {
    /// Before the first stage.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            current: RefCell::new(None),
            life: RefCell::new(None),
        }
    }

    /// After the last.
    pub fn finish(&self) {
        self.end();
        log::info!("done in {}", spoken(self.started));
    }

    fn end(&self) {
        if let Some(life) = self.life.take() {
            life.finish_and_clear();
        }
        if let Some((what, since)) = self.current.take() {
            let name = what.split(':').next().unwrap_or(&what);
            log::info!("{name}: {}", spoken(since));
        }
    }
}

impl Stages {
    /// Writes a line above the one that moves.
    fn above(&self, say: impl FnOnce()) {
        match &*self.life.borrow() {
            Some(life) => life.suspend(say),
            None => say(),
        }
    }
}

/// It moves by itself, also where a program says nothing for minutes.
fn sign_of_life() -> ProgressBar {
    let style = ProgressStyle::with_template("   {spinner} [{elapsed}] {wide_msg}");
    let life = ProgressBar::new_spinner();
    life.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    life.enable_steady_tick(TICK);
    life
}

impl gild_golden::progress::Progress for Stages {
    fn stage(&self, what: &str) {
        self.end();
        log::info!("== {what}");
        self.current
            .replace(Some((what.to_owned(), Instant::now())));
    }

    fn note(&self, text: &str) {
        self.above(|| log::info!("   [{}] {text}", spoken(self.started)));
    }

    fn at_work(&self, text: &str) {
        if stderr().is_terminal() {
            let mut life = self.life.borrow_mut();
            life.get_or_insert_with(sign_of_life)
                .set_message(text.to_owned());
        }
    }

    fn warn(&self, text: &str) {
        self.above(|| log::warn!("{text}"));
    }
}

fn spoken(since: Instant) -> String {
    let seconds = since.elapsed().as_secs();
    match seconds / 60 {
        0 => format!("{seconds} s"),
        minutes => format!("{minutes} min {:02} s", seconds % 60),
    }
}
