//! Matchbox' groups: which machines they select, and what they say about them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gild_boards::mac::Mac;
use serde_json::{Map, Value};

use super::query;
use crate::regular_file;

/// One `groups/<name>.json`.
#[derive(Clone, Debug)]
pub struct Group {
    /// Labels that a request must have.
    pub selector: BTreeMap<String, String>,
    /// What the group says about a machine.
    pub metadata: Map<String, Value>,
}

impl Group {
    /// Reads one group. `None` where Matchbox would ignore the file without a message.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let Value::Object(fields) = serde_json::from_str(text).ok()? else {
            return None;
        };
        for name in ["id", "name", "profile"] {
            if !matches!(
                field(&fields, name),
                None | Some(Value::Null | Value::String(_))
            ) {
                return None;
            }
        }
        let mut selector = BTreeMap::new();
        match field(&fields, "selector") {
            None | Some(Value::Null) => {}
            Some(Value::Object(pairs)) => {
                for (key, value) in pairs {
                    let value = value.as_str()?;
                    let value = if query::is_mac_key(key) {
                        query::normalise_mac(value)?
                    } else {
                        value.to_owned()
                    };
                    selector.insert(key.clone(), value);
                }
            }
            Some(_) => return None,
        }
        let metadata = match field(&fields, "metadata") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(metadata)) => metadata.clone(),
            Some(_) => return None,
        };
        Some(Self { selector, metadata })
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector
            .iter()
            .all(|(key, value)| labels.get(key).map_or("", String::as_str) == value)
    }

    fn selector_words(&self) -> String {
        let words: Vec<_> = self
            .selector
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        words.join(",")
    }
}

/// All groups of a data directory.
#[derive(Clone, Debug, Default)]
pub struct Groups(Vec<Group>);

impl Groups {
    /// Reads them. A file that cannot be read is left out without a message, as Matchbox does.
    #[must_use]
    pub fn read(directory: &Path) -> Self {
        Self::of(&Self::files(directory))
    }

    /// The files to read, in the order of the folder. If two files have the same name, the one that ends in `.json` counts.
    #[must_use]
    pub fn files(directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory.join("groups"));
        let files = entries.into_iter().flatten().flatten();
        files
            .map(|entry| entry.path().with_extension("json"))
            .collect()
    }

    /// Reads them from these files.
    #[must_use]
    pub fn of(files: &[PathBuf]) -> Self {
        let groups = files
            .iter()
            .filter_map(|file| Group::parse(&regular_file::read_to_string(file).ok()?));
        let mut groups: Vec<_> = groups.collect();
        groups.sort_by_key(|group| Reverse((group.selector.len(), group.selector_words())));
        Self(groups)
    }

    /// All of them, the one with the most selectors first.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.0.iter()
    }

    /// The files from which no group can be read. They therefore match no node.
    #[must_use]
    pub fn unusable(directory: &Path) -> Vec<PathBuf> {
        let mut unusable = Self::files(directory);
        let is_group = |path: &PathBuf| {
            regular_file::read_to_string(path).is_ok_and(|text| Group::parse(&text).is_some())
        };
        unusable.retain(|path| !is_group(path));
        unusable.sort();
        unusable.dedup();
        unusable
    }

    /// The group for a request with these labels. The request must have every selector of the group. The group with the most selectors
    /// wins; among equals the last one wins, in the order of their selectors as text. A group without selectors matches every request.
    #[must_use]
    pub fn select(&self, labels: &BTreeMap<String, String>) -> Option<&Group> {
        self.0.iter().find(|group| group.matches(labels))
    }

    /// Whether a group selects the board with this MAC address in particular. A group for every board does not count.
    #[must_use]
    pub fn name_mac(&self, mac: Mac) -> bool {
        let mac = mac.to_string();
        let mut selectors = self.0.iter().map(|group| &group.selector);
        selectors.any(|selector| selector.get("mac") == Some(&mac))
    }

    /// Whether a group answers a node that asks with this MAC address, which is in lower case with colons.
    #[must_use]
    pub fn has(&self, mac: &str) -> bool {
        let labels = BTreeMap::from([("mac".to_owned(), mac.to_owned())]);
        self.select(&labels).is_some()
    }
}

/// Go reads field names in any case.
fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields
        .iter()
        .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_counts_for_nobody_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let groups = folder.path().join("groups");
        assert!(Groups::unusable(folder.path()).is_empty());
        fs::create_dir_all(groups.join("folder.json")).expect("a folder");
        for (name, text) in [
            ("good.json", "{}"),
            ("comma.json", "{\"id\": \"a\",}"),
            ("mark.json", "\u{feff}{}"),
        ] {
            fs::write(groups.join(name), text).expect("a file");
        }
        std::os::unix::fs::symlink("nowhere", groups.join("link.json")).expect("a link");
        nix::unistd::mkfifo(&groups.join("pipe.json"), nix::sys::stat::Mode::S_IRWXU)
            .expect("a pipe");
        let found = Groups::unusable(folder.path());
        let names = [
            "comma.json",
            "folder.json",
            "link.json",
            "mark.json",
            "pipe.json",
        ];
        assert_eq!(found, names.map(|name| groups.join(name)));
    }
}
