//! The names of boards, in both directions, from the groups.

use std::collections::BTreeMap;

use gild_boards::mac::Mac;
use serde_json::Value;

use crate::metadata::{Group, Groups};

/// The name of the board with this address.
#[must_use]
pub fn name(groups: &Groups, mac: Mac) -> Option<String> {
    let labels = BTreeMap::from([("mac".to_owned(), mac.to_string())]);
    hostname(groups.select(&labels)?).map(str::to_owned)
}

/// The addresses of the boards that get this name.
#[must_use]
pub fn addresses(groups: &Groups, name: &str) -> Vec<Mac> {
    let named = groups.iter().filter(|group| hostname(group) == Some(name));
    let macs = named.filter_map(|group| Mac::parse(group.selector.get("mac")?));
    macs.collect()
}

fn hostname(group: &Group) -> Option<&str> {
    group.metadata.get("hostname").and_then(Value::as_str)
}
