//! The groups that a desk's folder has already: who has which name and which address.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gild_boards::mac::Mac;
use gild_desk::metadata::Group;
use gild_desk::regular_file;
use serde_json::Value;

/// The groups in a folder.
pub struct Known(Vec<Entry>);

struct Entry {
    path: PathBuf,
    name: Option<String>,
    macs: Vec<Mac>,
    whole: Value,
}

impl Known {
    /// Reads them. What Matchbox would pass over in silence is passed over here, too.
    pub fn read(groups: &Path) -> Result<Self> {
        let context = || format!("cannot read {}", groups.display());
        let mut known = Vec::new();
        for entry in fs::read_dir(groups).with_context(context)? {
            let path = entry.with_context(context)?.path();
            let text = regular_file::read_to_string(&path).unwrap_or_default();
            if let Some(group) = Group::parse(&text) {
                known.push(Entry::of(path, &group, &text));
            }
        }
        known.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self(known))
    }

    /// The file of a group that selects this address already, or gives this name.
    pub fn with(&self, mac: Mac, name: &str) -> Option<&Path> {
        let is = |entry: &&Entry| entry.macs.contains(&mac) || entry.name.as_deref() == Some(name);
        self.0.iter().find(is).map(|entry| entry.path.as_path())
    }

    /// Whether this file is there, and has just this in it.
    pub fn has(&self, path: &Path, group: &Value) -> bool {
        let is = |entry: &Entry| entry.path == path && entry.whole == *group;
        self.0.iter().any(is)
    }

    /// The names and addresses of the nodes that they name.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &[Mac])> {
        let named = self
            .0
            .iter()
            .filter_map(|entry| Some((entry.name.as_deref()?, entry)));
        named.map(|(name, entry)| (name, entry.macs.as_slice()))
    }
}

impl Entry {
    fn of(path: PathBuf, group: &Group, text: &str) -> Self {
        let macs = group
            .selector
            .values()
            .filter_map(|value| Mac::parse(value));
        let name = group.metadata.get("hostname").and_then(Value::as_str);
        Self {
            path,
            name: name.map(str::to_owned),
            macs: macs.collect(),
            whole: serde_json::from_str(text).unwrap_or_default(),
        }
    }
}
