//! A run of the demo as a picture. It is a terminal whose lines appear as they came, in SVG with CSS, which every browser can show.

use std::fmt::Write;
use std::time::Duration;

/// Of the terminal, in lines and characters.
const ROWS: usize = 22;
const COLUMNS: usize = 112;
/// Of a line and of the frame, in pixels.
const LINE: usize = 19;
const MARGIN: usize = 14;
const WIDTH: usize = COLUMNS * 8 + 2 * MARGIN;
const HEIGHT: usize = ROWS * LINE + 2 * MARGIN;
/// Nobody wants to watch a wait, so the picture shortens it to this.
const LONGEST_WAIT: Duration = Duration::from_millis(900);
/// How long the end stays.
const REST: Duration = Duration::from_secs(6);

/// What was shown, and when.
#[derive(Default)]
pub struct Recording(Vec<(Duration, String)>);

impl Recording {
    /// A line is shown.
    pub fn add(&mut self, at: Duration, line: &str) {
        self.0.push((at, line.to_owned()));
    }

    /// The picture.
    pub fn svg(&self) -> String {
        let times = self.times();
        let total = (times.last().copied().unwrap_or_default() + REST).as_secs_f64();
        let mut frames = String::new();
        let mut lines = String::new();
        for (place, ((_, line), at)) in self.0.iter().zip(&times).enumerate() {
            let percent = at.as_secs_f64() / total * 100.0;
            // The newest line is the last row.
            let _ = write!(
                frames,
                "{percent:.2}%{{transform:translateY({}px)}}",
                shift(place)
            );
            let y = MARGIN + LINE * (place + 1) - 5;
            let _ = writeln!(
                lines,
                "<text x=\"{MARGIN}\" y=\"{y}\" class=\"{}\">{}</text>",
                class(line),
                escaped(&cut(line))
            );
        }
        let end = shift(self.0.len().saturating_sub(1));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"A run of make demo\">\n\
             <style>\n\
             text{{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#c9d1d9;white-space:pre}}\n\
             .say{{fill:#7ee787}}.stage{{fill:#79c0ff}}.progress{{fill:#8b949e}}.golden{{fill:#ffa657}}\n\
             .all{{transform:translateY({end}px)}}\n\
             @media(prefers-reduced-motion:no-preference){{.all{{animation:run {total:.1}s step-end infinite}}}}\n\
             @keyframes run{{{frames}100%{{transform:translateY({end}px)}}}}\n\
             </style>\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"8\" fill=\"#0d1117\"/>\n\
             <clipPath id=\"screen\"><rect x=\"0\" y=\"{MARGIN}\" width=\"{WIDTH}\" height=\"{}\"/></clipPath>\n\
             <g clip-path=\"url(#screen)\"><g class=\"all\">\n{lines}</g></g>\n\
             </svg>\n",
            ROWS * LINE
        )
    }

    /// When each line is shown in the picture.
    fn times(&self) -> Vec<Duration> {
        let mut now = Duration::ZERO;
        let mut before = self.0.first().map_or(Duration::ZERO, |(at, _)| *at);
        let shown = self.0.iter().map(|(at, _)| {
            now += at.saturating_sub(before).min(LONGEST_WAIT);
            before = *at;
            now
        });
        shown.collect()
    }
}

/// How far all lines move so that this one is the last row.
fn shift(place: usize) -> isize {
    let rows = isize::try_from(ROWS).unwrap_or(0) - 1 - isize::try_from(place).unwrap_or(0);
    rows * isize::try_from(LINE).unwrap_or(0)
}

fn class(line: &str) -> &'static str {
    let is_said = line.contains(" # ") && !line.contains(" | ");
    if is_said {
        "say"
    } else if line.contains("| gild: stage ") {
        "stage"
    } else if line.contains("| gild: progress ") {
        "progress"
    } else if line.contains("| golden: ") {
        "golden"
    } else {
        "line"
    }
}

fn cut(line: &str) -> String {
    if line.chars().count() <= COLUMNS {
        return line.to_owned();
    }
    let start: String = line.chars().take(COLUMNS - 1).collect();
    format!("{start}…")
}

fn escaped(line: &str) -> String {
    line.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_cut_and_each_line_is_there_once() {
        let mut recording = Recording::default();
        recording.add(Duration::from_secs(3), "rpi5 # a < b & c");
        recording.add(Duration::from_mins(1), "rpi5 | gild: stage flash");
        recording.add(Duration::from_secs_f64(60.5), &"x".repeat(200));
        let times: Vec<u128> = recording.times().iter().map(Duration::as_millis).collect();
        assert_eq!(times, [0, 900, 1400]);
        let svg = recording.svg();
        assert_eq!(svg.matches("<text ").count(), 3);
        assert!(svg.contains("class=\"say\">rpi5 # a &lt; b &amp; c<"));
        assert!(svg.contains("class=\"stage\""));
        assert!(svg.contains(&format!(">{}…<", "x".repeat(COLUMNS - 1))));
    }

    #[test]
    fn the_newest_line_is_the_last_row() {
        assert_eq!(shift(0), 21 * 19);
        assert_eq!(shift(21), 0);
        assert_eq!(shift(22), -19);
    }
}
