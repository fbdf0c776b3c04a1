//! A file on the card with one value for each kind of board.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// Lines `<board>=<value>` and nothing else: U-Boot imports such a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerBoard<T>(BTreeMap<String, T>);

impl<T> Default for PerBoard<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: FromStr + Display> PerBoard<T> {
    /// Reads the file. A line that cannot be read counts as absent.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let is_word = |text: &str| {
            let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            !text.is_empty() && text.chars().all(good)
        };
        let line = |line: &str| {
            let (board, value) = line.split_once('=')?;
            let value = value.parse().ok()?;
            is_word(board).then(|| (board.to_owned(), value))
        };
        Self(text.lines().filter_map(line).collect())
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
