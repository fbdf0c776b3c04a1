//! A file on the card with one value for each kind of board.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use thiserror::Error;

/// Lines `<board>=<value>` and nothing else: U-Boot imports such a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerBoard<T>(BTreeMap<String, T>);

impl<T> Default for PerBoard<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// A file of this form that does not say everything that it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DamagedFile {
    /// It has no value at all.
    #[error("it is empty")]
    Empty,
    /// A line cannot be read.
    #[error("line {0} is not `<board>=<value>`")]
    Line(usize),
    /// A board has two values.
    #[error("line {0} has a second value for a board")]
    Second(usize),
}

impl<T: FromStr + Display> PerBoard<T> {
    /// Reads the file. A line that cannot be read counts as absent.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(line).collect())
    }

    /// Reads a file where a line that is lost would be dangerous. All lines must be right, and there must be one.
    pub fn whole(text: &str) -> Result<Self, DamagedFile> {
        let mut all = BTreeMap::new();
        for (at, words) in (1..).zip(text.lines()) {
            if words.trim().is_empty() {
                continue;
            }
            let (board, value) = line(words).ok_or(DamagedFile::Line(at))?;
            if all.insert(board, value).is_some() {
                return Err(DamagedFile::Second(at));
            }
        }
        if all.is_empty() {
            return Err(DamagedFile::Empty);
        }
        Ok(Self(all))
    }

    /// The value for boards of this kind.
    #[must_use]
    pub fn get(&self, board: &str) -> Option<&T> {
        self.0.get(board)
    }

    /// Gives boards of this kind this value.
    pub fn set(&mut self, board: &str, value: T) {
        self.0.insert(board.to_owned(), value);
    }

    /// Takes the value of boards of this kind away.
    pub fn remove(&mut self, board: &str) {
        self.0.remove(board);
    }

    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let lines = self.0.iter();
        lines.fold(String::new(), |text, (board, value)| {
            text + board + "=" + &value.to_string() + "\n"
        })
    }
}

fn line<T: FromStr>(line: &str) -> Option<(String, T)> {
    let (board, value) = line.split_once('=')?;
    let value = value.parse().ok()?;
    is_word(board).then(|| (board.to_owned(), value))
}

fn is_word(text: &str) -> bool {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !text.is_empty() && text.chars().all(is_good)
}
