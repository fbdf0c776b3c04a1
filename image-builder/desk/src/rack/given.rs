//! Who was given a node's token, for each time that its door was opened. It is kept apart from the node's history: whoever comes through the
//! door can come from other addresses and report as the node, and so push old entries out of the history.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Event;

/// The desk remembers this many openings, the latest ones.
const OPENINGS: usize = 4;
/// Of each opening it names this many addresses, the first ones.
const NAMED: usize = 8;
/// It counts this many further ones. Beyond that it notes nothing, because everybody has the token.
const COUNTED: usize = 256;

/// The openings, the latest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Given(Vec<Opening>);

/// One time that the door was opened. Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Opening {
    since: u64,
    /// How it was opened.
    how: Option<Event>,
    /// The first addresses that got the token.
    named: Vec<Event>,
    /// The others, and when the last of them came.
    others: BTreeSet<String>,
    last: u64,
}

impl Given {
    /// Notes that the door was opened.
    pub(super) fn open(&mut self, at: u64, how: &str) {
        let text = how.to_owned();
        self.0.push(Opening {
            since: at,
            how: Some(Event { at, text }),
            ..Opening::default()
        });
        self.bound();
    }

    /// Whether there is nothing to note if the token goes to this address through the door that was opened then.
    pub(super) fn has(&self, since: u64, to: &str) -> bool {
        self.of(since).is_some_and(|index| {
            let opening = &self.0[index];
            let text = given_to(to);
            opening.named.iter().any(|event| event.text == text)
                || opening.others.contains(to)
                || opening.others.len() >= COUNTED
        })
    }

    /// Notes that the token went to this address through the door that was opened then.
    pub(super) fn note(&mut self, since: u64, at: u64, to: &str) {
        if self.has(since, to) {
            return;
        }
        let index = self.of(since).unwrap_or_else(|| {
            self.0.push(Opening {
                since,
                ..Opening::default()
            });
            self.bound();
            self.0.len() - 1
        });
        let opening = &mut self.0[index];
        if opening.named.len() < NAMED {
            let text = given_to(to);
            opening.named.push(Event { at, text });
        } else {
            opening.others.insert(to.to_owned());
            opening.last = at;
        }
    }

    /// Takes over the openings of another node, which has turned out to be the same board.
    pub(super) fn absorb(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
        self.0.sort_by_key(|opening| opening.since);
        self.bound();
    }

    /// What happened, in words.
    pub(super) fn events(&self) -> impl Iterator<Item = Cow<'_, Event>> {
        self.0.iter().flat_map(|opening| {
            let each = opening.how.iter().chain(&opening.named);
            let others = opening.others();
            each.map(Cow::Borrowed).chain(others.map(Cow::Owned))
        })
    }

    fn of(&self, since: u64) -> Option<usize> {
        self.0.iter().rposition(|opening| opening.since == since)
    }

    fn bound(&mut self) {
        let old = self.0.len().saturating_sub(OPENINGS);
        self.0.drain(..old);
    }
}

impl Opening {
    fn others(&self) -> Option<Event> {
        let count = match self.others.len() {
            0 => return None,
            1 => "one other address".to_owned(),
            COUNTED.. => format!("{COUNTED} other addresses or more"),
            count => format!("{count} other addresses"),
        };
        let text = format!("its token is given to {count}, too");
        Some(Event {
            at: self.last,
            text,
        })
    }
}

fn given_to(to: &str) -> String {
    format!("its token is given to {to}")
}
