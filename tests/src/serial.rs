//! The serial console of a virtual board, as QEMU writes it to a file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// How much of the log an error carries.
const TAIL_LINES: usize = 40;

/// Reads the log of a running board line by line.
pub struct SerialLog {
    path: PathBuf,
    read: u64,
    partial: Vec<u8>,
    lines: Vec<String>,
    cursor: usize,
}

impl SerialLog {
    /// The log at `path`, which need not exist yet.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            read: 0,
            partial: Vec::new(),
            lines: Vec::new(),
            cursor: 0,
        }
    }

    /// The next whole line that no one has taken yet.
    pub fn next_line(&mut self) -> Option<&str> {
        if self.cursor == self.lines.len() {
            self.refill();
        }
        let line = self.lines.get(self.cursor)?;
        self.cursor += 1;
        Some(line)
    }

    /// All whole lines so far, taken or not.
    pub fn lines(&mut self) -> &[String] {
        self.refill();
        &self.lines
    }

    /// The end of the log, for an error.
    pub fn tail(&mut self) -> String {
        self.refill();
        let skipped = self.lines.len().saturating_sub(TAIL_LINES);
        let mut tail = self.lines[skipped..].join("\n");
        tail.push('\n');
        tail.push_str(&String::from_utf8_lossy(&self.partial));
        tail
    }

    fn refill(&mut self) {
        let mut new = Vec::new();
        let Ok(mut file) = File::open(&self.path) else {
            return;
        };
        if file.seek(SeekFrom::Start(self.read)).is_err() || file.read_to_end(&mut new).is_err() {
            return;
        }
        self.read += new.len() as u64;
        self.partial.extend_from_slice(&new);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            self.lines
                .push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
    }
}

/// How far the agent is in a stage, if a line says so: per cent, and the same in words.
#[must_use]
pub fn progress(line: &str) -> Option<(u64, &str)> {
    let words = line.strip_prefix("gild: progress ")?;
    let (percent, _) = words.split_once(" %")?;
    Some((percent.parse().ok()?, words))
}

/// A line for a terminal: without what U-Boot sends to move its cursor or to ask it something.
#[must_use]
pub fn printable(line: &str) -> String {
    let mut shown = String::new();
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        match character {
            '\x1b' => {
                // `ESC [` goes on to the first letter; any other sequence here is one character long.
                if rest.next() == Some('[') {
                    rest.find(|end| ('@'..='~').contains(end));
                }
            }
            '\t' => shown.push(character),
            _ if character.is_control() => {}
            _ => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_the_text_of_a_line_only() {
        for (line, shown) in [
            (
                "\x1b7\x1b[r\x1b[999;999H\x1b[6n\x1b8Cannot persist",
                "Cannot persist",
            ),
            ("\x1b[?25h", ""),
            ("autoboot:  2 \x08\x08\x08 1", "autoboot:  2  1"),
            ("1:\tgild", "1:\tgild"),
            ("at 110 \u{b0}C \x1b", "at 110 \u{b0}C "),
        ] {
            assert_eq!(printable(line), shown);
        }
    }
}
