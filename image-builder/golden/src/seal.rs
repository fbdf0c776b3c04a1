//! The seal removes from the tree what identifies one node, and what belongs to the build.
//!
//! Everything is one table ([`TABLE`]); docs/golden-image.md shows the same table. Whether an image is sealed is
//! decided by `gild image verify --sealed`, which shares nothing with this.

mod action;
mod table;

use std::path::Path;

use serde::Serialize;

pub use action::Action;
pub use table::TABLE;

use crate::tree::{Tree, TreeError};

/// One kind of thing that a golden image must not carry.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name.
    pub item: &'static str,
    /// Where it lies: patterns as [`Tree::glob`] takes them, or the one path that the action is for.
    pub paths: &'static [&'static str],
    /// What is done about it.
    pub action: Action,
    /// What would happen otherwise.
    pub why: &'static str,
}

/// Something that the seal changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The row that it is for.
    pub item: &'static str,
    /// Where.
    pub path: String,
}

impl Change {
    /// Whether this path is what it changed, or below it.
    #[must_use]
    pub fn is_about(&self, path: &str) -> bool {
        Path::new(path).starts_with(&self.path)
    }
}

/// Seals a tree and says what there was to change.
pub fn seal(tree: &mut Tree) -> Result<Vec<Change>, TreeError> {
    apply(tree, &TABLE)
}

/// Applies rows in their order.
pub fn apply(tree: &mut Tree, rows: &[Row]) -> Result<Vec<Change>, TreeError> {
    let mut changes = Vec::new();
    for row in rows {
        for path in row.action.apply(tree, row.paths)? {
            changes.push(Change {
                item: row.item,
                path,
            });
        }
    }
    Ok(changes)
}

/// The table as the operator's documentation shows it.
#[must_use]
pub fn list_markdown() -> String {
    let lines = TABLE.iter().map(|row| {
        let places: Vec<String> = row.paths.iter().map(|path| format!("`/{path}`")).collect();
        format!(
            "- **{}**, {}: {}. Why: {}.\n",
            row.item,
            places.join(", "),
            row.action,
            row.why
        )
    });
    lines.collect()
}
