//! What a person looks for first in a list of differences.

use super::{Change, Difference};
use crate::image::{IMAGE_ENV, RELEASE};
use crate::place::Place;

/// Files and folders of the root file system that differ between nearly all images.
const EXPECTED: [&str; 7] = [
    RELEASE,
    "etc/ld.so.cache",
    "var/cache/",
    "var/lib/apt/",
    "var/lib/dpkg/",
    "var/lib/systemd/catalog/",
    "var/log/",
];

/// What Python makes of its programs.
const COMPILED: &str = "/__pycache__/";

/// Does this path differ between nearly all images?
pub fn is_expected(partition: &str, path: &str) -> bool {
    if partition == "boot" {
        return path == IMAGE_ENV;
    }
    // A folder is in itself.
    let inside = format!("{path}/");
    let is_listed =
        |listed: &&str| path == *listed || listed.ends_with('/') && inside.starts_with(*listed);
    EXPECTED.iter().any(is_listed) || inside.contains(COMPILED)
}

/// How soon a person wants to see a difference.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// What configures a node, what starts it, and what is of another kind, mode or owner.
    First,
    /// All else.
    Then,
    /// What differs between nearly all images.
    Expected,
}

/// By which a list is sorted.
pub fn of(partition: &str, difference: &Difference) -> (Rank, String) {
    let path = &difference.path;
    let is_rare = |change: &Change| matches!(change, Change::Kind | Change::Mode | Change::Owner);
    let configures = Place::of(&format!("{path}/")) != Place::Anywhere;
    let rank = if difference.expected {
        Rank::Expected
    } else if partition == "boot" || configures || difference.changes.iter().any(is_rare) {
        Rank::First
    } else {
        Rank::Then
    };
    (rank, path.clone())
}
