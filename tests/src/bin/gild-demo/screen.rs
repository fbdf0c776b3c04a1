//! What the demo shows. On a terminal it shows the boards' lines, and below them the LED, the stage and a bar. Elsewhere it shows only the
//! lines.

use std::io::{IsTerminal, stdout};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use gild_tests::serial::progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::led::Led;
use crate::recording::Recording;

/// One step of the LED.
const STEP: Duration = Duration::from_millis(100);

/// What the demo says while it makes what a board needs.
pub const PREPARING: &str = "preparing: golden image, its publication, a whole card, a blank 512 MiB NVMe disk (built when not there yet: some minutes)";

static SCREEN: OnceLock<Mutex<Screen>> = OnceLock::new();

/// What a line of a board's console says about its progress.
#[derive(Debug, PartialEq, Eq)]
pub enum News<'a> {
    /// A stage begins.
    Stage(&'a str),
    /// This many per cent of it are done, in words.
    Progress(u64, &'a str),
    /// The agent waits for its server.
    Waiting,
    /// A fault is shown.
    Fault(u8),
    /// The image on the disk runs.
    Golden,
    /// The power is cut.
    NoPower,
}

struct Screen {
    start: Instant,
    bar: Option<ProgressBar>,
    led: Led,
    recording: Recording,
}

/// Shows a line of a board's console.
pub fn console(board: &str, line: &str) {
    let text = format!("{board} | {line}");
    with_screen(|screen| {
        screen.record(&text);
        let news = news(line);
        let Some(bar) = &screen.bar else {
            println!("{text}");
            return;
        };
        if !matches!(news, Some(News::Progress(..))) {
            bar.println(text);
        }
        if let Some(news) = news {
            screen.hear(board, &news);
        }
    });
}

/// Shows that a board has no power any more.
pub fn goes_dark(board: &str) {
    with_screen(|screen| screen.hear(board, &News::NoPower));
}

/// Shows what the demo itself says about a board.
pub fn say(board: &str, text: &str) {
    let text = format!("{board} # {text}");
    with_screen(|screen| {
        screen.record(&text);
        match &screen.bar {
            Some(bar) => bar.println(text),
            None => println!("{text}"),
        }
    });
}

/// Removes the last line and returns everything that was shown.
pub fn end() -> Recording {
    with_screen(|screen| {
        if let Some(bar) = screen.bar.take() {
            bar.finish_and_clear();
        }
        std::mem::take(&mut screen.recording)
    })
}

fn with_screen<T>(act: impl FnOnce(&mut Screen) -> T) -> T {
    let screen = SCREEN.get_or_init(|| Mutex::new(Screen::new()));
    act(&mut screen.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Screen {
    fn new() -> Self {
        let bar = stdout().is_terminal().then(|| {
            let bar = ProgressBar::new(100).with_style(style(&Led::default().ticks()));
            bar.enable_steady_tick(STEP);
            bar
        });
        Self {
            start: Instant::now(),
            bar,
            led: Led::default(),
            recording: Recording::default(),
        }
    }

    /// Updates the last line with the news, if there is such a line.
    fn hear(&mut self, board: &str, news: &News) {
        let Some(bar) = &self.bar else { return };
        let before = self.led.ticks();
        self.led.hear(news);
        let ticks = self.led.ticks();
        // A new style restarts the blinking.
        if ticks != before {
            bar.set_style(style(&ticks));
        }
        let (position, prefix) = match news {
            News::Progress(percent, words) => {
                bar.set_position(*percent);
                bar.set_message((*words).to_owned());
                return;
            }
            News::Fault(number) => return bar.set_message(format!("fault {number}")),
            News::Waiting => return bar.set_message("waits for its server"),
            News::Stage(stage) => (0, format!("{board} {stage}")),
            News::Golden => (100, format!("{board} runs its image")),
            News::NoPower => (0, format!("{board} is off")),
        };
        bar.set_position(position);
        bar.set_prefix(prefix);
        bar.set_message("");
    }

    fn record(&mut self, text: &str) {
        self.recording.add(self.start.elapsed(), text);
    }
}

fn style(ticks: &[&str]) -> ProgressStyle {
    ProgressStyle::with_template("{spinner:.green} {prefix:22} {bar:30} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .tick_strings(ticks)
}

fn news(line: &str) -> Option<News<'_>> {
    if line.starts_with("golden: image") {
        return Some(News::Golden);
    }
    if let Some((percent, words)) = progress(line) {
        return Some(News::Progress(percent, words));
    }
    let said = line.strip_prefix("gild: ")?;
    if let Some(stage) = said.strip_prefix("stage ") {
        return Some(News::Stage(stage));
    }
    if said.starts_with("waiting: ") {
        return Some(News::Waiting);
    }
    let (number, _) = said.strip_prefix("FAULT ")?.split_once(':')?;
    Some(News::Fault(number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_progress_and_the_image_s_first_line_are_news() {
        assert_eq!(news("gild: stage flash"), Some(News::Stage("flash")));
        let words = "12 % written, 39 MB/s, 2 s left";
        let line = format!("gild: progress {words}");
        assert_eq!(news(&line), Some(News::Progress(12, words)));
        let golden = "golden: image golden-b7a5ed3b4d44 running on a board";
        assert_eq!(news(golden), Some(News::Golden));
        let fault = "gild: FAULT 7: writing /dev/nvme0n1";
        assert_eq!(news(fault), Some(News::Fault(7)));
        let waiting = "gild: waiting: the server does not answer (attempt 1)";
        assert_eq!(news(waiting), Some(News::Waiting));
        for other in ["gild: progress", "gild: board rpi5", "U-Boot 2025.01"] {
            assert_eq!(news(other), None, "{other}");
        }
    }
}
