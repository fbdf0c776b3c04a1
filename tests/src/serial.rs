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
