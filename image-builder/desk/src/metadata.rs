//! Matchbox's `/metadata`: the same group files, selected and rendered by the same rules. The rules come from Matchbox's source, and its Go
//! code gave the values in the tests. No line of it was copied.

mod group;
mod lines;
mod query;

use std::collections::BTreeMap;

use gild_boards::mac::Mac;

pub use group::{Group, Groups};
pub use lines::Scope;

/// A question to `/metadata`.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    query: &'a str,
    labels: BTreeMap<String, String>,
}

impl<'a> Question<'a> {
    /// Reads the query of the request's address: what follows the question mark.
    #[must_use]
    pub fn parse(query: &'a str) -> Self {
        let labels = query::labels(query);
        Self { query, labels }
    }

    /// The MAC address that it is about.
    #[must_use]
    pub fn mac(&self) -> Option<Mac> {
        Mac::parse(self.labels.get("mac")?)
    }

    /// The group that answers it. `None` is Matchbox's 404.
    #[must_use]
    pub fn group<'g>(&self, groups: &'g Groups) -> Option<&'g Group> {
        groups.select(&self.labels)
    }

    /// The answer, one `KEY=value` a line.
    #[must_use]
    pub fn answer(&self, group: &Group, scope: Scope<'_>) -> String {
        lines::render(group, &self.labels, self.query, scope)
    }
}

impl Group {
    /// Whether the group gives something that must not be public.
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        lines::has_secrets(self)
    }
}
