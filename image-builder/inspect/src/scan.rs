//! Looks for secrets in a stream of bytes, in bounded memory.

use std::io::{self, Read};

use aho_corasick::{AhoCorasick, MatchKind};

use crate::canary::{Canary, Origin};
use crate::place::Place;
use crate::secrets::{LONGEST, Pattern, Secret, patterns};

/// New bytes in a window.
const WINDOW: usize = 1 << 20;
/// Bytes that are kept before the place where the search starts, so that it can see where a word begins.
const BEFORE: usize = 1;
/// A file that is full of one kind of secret is reported often enough.
const MOST: usize = 5;

/// One thing that was found. Never the thing itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Its kind.
    pub secret: Secret,
    /// The words for it.
    pub what: &'static str,
    /// If it is a canary, what it is of.
    pub origin: Option<Origin>,
    /// Where it begins in what was searched.
    pub offset: u64,
    /// Bytes of it that were recognised.
    pub length: usize,
}

/// The bytes that are being searched; kept from one file to the next.
pub struct Window(Vec<u8>);

impl Default for Window {
    fn default() -> Self {
        Self(vec![0; BEFORE + LONGEST + WINDOW])
    }
}

/// Looks for all secrets at once.
pub struct Scanner {
    patterns: Vec<Pattern>,
    canaries: Vec<Canary>,
    words: AhoCorasick,
}

impl Scanner {
    /// Looks for the patterns and for these canaries.
    pub fn new(canaries: Vec<Canary>) -> Self {
        let words = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(canaries.iter().map(Canary::text))
            .expect("a few short words make a small automaton");
        Self {
            patterns: patterns(),
            canaries,
            words,
        }
    }

    /// Reads to the end.
    pub fn scan(
        &self,
        Window(buffer): &mut Window,
        mut input: impl Read,
        place: Place,
    ) -> io::Result<Vec<Match>> {
        let mut found = Vec::new();
        // The number of bytes in the buffer, where in it the search starts, and the buffer's offset in the stream.
        let (mut filled, mut from, mut base) = (0, 0, 0);
        loop {
            let mut ended = false;
            while filled < buffer.len() {
                match input.read(&mut buffer[filled..])? {
                    0 => {
                        ended = true;
                        break;
                    }
                    read => filled += read,
                }
            }
            // A match that begins near the end of the window may go on: the next window has it whole.
            let until = if ended { filled } else { filled - LONGEST };
            self.window(&buffer[..filled], from..until, base, place, &mut found);
            if ended {
                return Ok(found);
            }
            let keep = until - BEFORE;
            buffer.copy_within(keep..filled, 0);
            filled -= keep;
            base += keep as u64;
            from = BEFORE;
        }
    }

    fn window(
        &self,
        bytes: &[u8],
        starts: std::ops::Range<usize>,
        base: u64,
        place: Place,
        found: &mut Vec<Match>,
    ) {
        for pattern in &self.patterns {
            if pattern.place > place {
                continue;
            }
            let mut at = starts.start;
            while let Some(hit) = pattern.regex.find_at(bytes, at) {
                if hit.start() >= starts.end {
                    break;
                }
                add(
                    found,
                    Match {
                        secret: pattern.secret,
                        what: pattern.what,
                        origin: None,
                        offset: base + hit.start() as u64,
                        length: hit.len(),
                    },
                );
                at = hit.end();
            }
        }
        for hit in self.words.find_overlapping_iter(&bytes[starts.start..]) {
            let (start, end) = (starts.start + hit.start(), starts.start + hit.end());
            let canary = &self.canaries[hit.pattern().as_usize()];
            if start < starts.end && canary.stands_alone(bytes, start, end) {
                add(
                    found,
                    Match {
                        secret: canary.secret(),
                        what: canary.origin.what(),
                        origin: Some(canary.origin),
                        offset: base + start as u64,
                        length: hit.len(),
                    },
                );
            }
        }
    }
}

fn add(found: &mut Vec<Match>, new: Match) {
    let same = |old: &&Match| old.secret == new.secret && old.origin == new.origin;
    if found.iter().filter(same).count() < MOST {
        found.push(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives the bytes in pieces of this size, as a slow reader would.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(buffer.len());
            self.0.read(&mut buffer[..length])
        }
    }

    #[test]
    fn a_secret_is_found_once_wherever_the_windows_meet() {
        let token = format!("K10{}::server:x", "0a".repeat(32));
        let canary = Canary::new(Origin::HostName, "anvil-7").expect("telling");
        let scanner = Scanner::new(vec![canary]);
        let mut window = Window::default();
        let around = WINDOW + LONGEST;
        for offset in (around - 80..around + 80).chain([0, WINDOW - 3, 2 * WINDOW + LONGEST - 5]) {
            for text in [token.as_str(), "anvil-7"] {
                let mut bytes = vec![b' '; 3 * WINDOW];
                bytes[offset..offset + text.len()].copy_from_slice(text.as_bytes());
                let found = scanner
                    .scan(&mut window, Pieces(&bytes, 70_001), Place::Anywhere)
                    .expect("reads");
                let offsets: Vec<u64> = found.iter().map(|one| one.offset).collect();
                assert_eq!(offsets, [offset as u64], "{text} at {offset}");
            }
        }
    }

    #[test]
    fn a_word_that_goes_on_before_the_window_is_not_taken_for_a_whole_one() {
        let canary = Canary::new(Origin::HostName, "anvil-7").expect("telling");
        let scanner = Scanner::new(vec![canary]);
        // The second window starts at the canary's first byte, the third at the first byte of another.
        let mut bytes = vec![b'x'; 2 * WINDOW];
        let start = BEFORE + WINDOW;
        bytes[start..start + 7].copy_from_slice(b"anvil-7");
        bytes[start + 7] = b' ';
        assert_eq!(
            scanner
                .scan(&mut Window::default(), &bytes[..], Place::Anywhere)
                .expect("reads"),
            []
        );
    }

    #[test]
    fn a_file_full_of_secrets_is_reported_a_few_times() {
        let tokens = format!("K10{}::server:x\n", "0a".repeat(32)).repeat(100);
        let found = Scanner::new(Vec::new())
            .scan(&mut Window::default(), tokens.as_bytes(), Place::Anywhere)
            .expect("reads");
        assert_eq!(found.len(), MOST);
    }
}
