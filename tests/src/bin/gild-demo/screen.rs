//! What the demo shows: on a terminal the boards' lines, and below them the LED, the stage and a bar; elsewhere the lines alone.

use std::io::{IsTerminal, stdout};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::recording::Recording;

/// One step of the LED.
const STEP: Duration = Duration::from_millis(100);
/// A second of the LED, in steps.
const DARK: &[&str] = &["○", "○"];
const LIT: &[&str] = &["●", "●"];
const ONE_BLINK: &[&str] = &["●", "○", "○", "○", "○", "○", "○", "○", "○", "○", "○"];
const TWO_BLINKS: &[&str] = &["●", "○", "○", "●", "○", "○", "○", "○", "○", "○", "○"];
const THREE_BLINKS: &[&str] = &["●", "○", "○", "●", "○", "○", "●", "○", "○", "○", "○"];
const FIVE_BLINKS: &[&str] = &["●", "○", "●", "○", "●", "○", "●", "○", "●", "○", "○"];

static SCREEN: OnceLock<Mutex<Screen>> = OnceLock::new();

/// What a line of a board's console says about its progress.
#[derive(Debug, PartialEq, Eq)]
enum News<'a> {
    /// A stage begins.
    Stage(&'a str),
    /// So many per cent of it are done, in words.
    Progress(u64, &'a str),
    /// The image on the disk runs.
    Golden,
}

struct Screen {
    start: Instant,
    bar: Option<ProgressBar>,
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
        match news {
            Some(News::Progress(percent, words)) => {
                bar.set_position(percent);
                bar.set_message(words.to_owned());
            }
            Some(News::Stage(stage)) => {
                bar.println(text);
                bar.set_style(style(led(stage)));
                bar.set_position(0);
                bar.set_prefix(format!("{board} {stage}"));
                bar.set_message("");
            }
            Some(News::Golden) => {
                bar.println(text);
                bar.set_style(style(LIT));
                bar.set_position(100);
                bar.set_prefix(format!("{board} runs its image"));
                bar.set_message("");
            }
            None => bar.println(text),
        }
    });
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

/// Takes the last line away, and gives all that was shown.
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
            let bar = ProgressBar::new(100).with_style(style(DARK));
            bar.enable_steady_tick(STEP);
            bar
        });
        Self {
            start: Instant::now(),
            bar,
            recording: Recording::default(),
        }
    }

    fn record(&mut self, text: &str) {
        self.recording.add(self.start.elapsed(), text);
    }
}

fn style(led: &[&str]) -> ProgressStyle {
    ProgressStyle::with_template("{spinner:.green} {prefix:22} {bar:30} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .tick_strings(led)
}

/// What the agent's LED shows in a stage (docs/failures.md).
fn led(stage: &str) -> &'static [&'static str] {
    match stage {
        "network" => ONE_BLINK,
        "manifest" | "target" => TWO_BLINKS,
        "flash" | "commit" | "boot-order" => FIVE_BLINKS,
        "verify" => THREE_BLINKS,
        "receipt" => LIT,
        _ => DARK,
    }
}

fn news(line: &str) -> Option<News<'_>> {
    if line.starts_with("golden: image") {
        return Some(News::Golden);
    }
    let said = line.strip_prefix("gild: ")?;
    if let Some(stage) = said.strip_prefix("stage ") {
        return Some(News::Stage(stage));
    }
    let words = said.strip_prefix("progress ")?;
    let (percent, _) = words.split_once(" %")?;
    Some(News::Progress(percent.parse().ok()?, words))
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
        for other in ["gild: progress", "gild: board rpi5", "U-Boot 2025.01"] {
            assert_eq!(news(other), None, "{other}");
        }
    }
}
