//! What a row of the seal does.

use std::fmt;

use crate::tree::{Entry, Kind, Tree, TreeError};

/// What is done with what a row's paths name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes, with all below it.
    Remove,
    /// Files go; directories stay, because services expect them with their owners.
    RemoveFiles,
    /// Files go that name a hardware address.
    RemoveBoundToHardware,
    /// It is there, and this is its text. With `only_with`, only where that path exists.
    Put {
        /// The text.
        text: &'static str,
        /// The mode.
        mode: u32,
        /// A path without which there is no need for it.
        only_with: Option<&'static str>,
    },
    /// The link to systemd-resolved's file; an empty file where there is no systemd-resolved.
    Resolver,
    /// No account has a password, and none says when it had one.
    LockPasswords,
}

const RESOLVED: &str = "usr/lib/systemd/systemd-resolved";
const STUB: &str = "../run/systemd/resolve/stub-resolv.conf";

impl Action {
    /// Does it and says which paths it changed.
    pub(super) fn apply(self, tree: &mut Tree, paths: &[&str]) -> Result<Vec<String>, TreeError> {
        match self {
            Self::Remove => {
                let mut found = matching(tree, paths)?;
                found.retain(|path| tree.remove_tree(path) > 0);
                Ok(found)
            }
            Self::RemoveFiles => {
                let mut found = matching(tree, paths)?;
                found.retain(|path| tree.get(path).is_some_and(|entry| !entry.is_directory()));
                for path in &found {
                    tree.remove(path)?;
                }
                Ok(found)
            }
            Self::RemoveBoundToHardware => {
                let mut bound = Vec::new();
                for path in matching(tree, paths)? {
                    let is_file = tree
                        .get(&path)
                        .is_some_and(|entry| matches!(entry.kind, Kind::File { .. }));
                    if is_file && names_hardware(&tree.read_text(&path)?) {
                        tree.remove(&path)?;
                        bound.push(path);
                    }
                }
                Ok(bound)
            }
            Self::Put { only_with, .. } if only_with.is_some_and(|path| !tree.contains(path)) => {
                Ok(Vec::new())
            }
            Self::Put { text, mode, .. } => each(paths, |path| {
                let changed = !holds(tree, path, text)?;
                tree.insert_file(path, mode, text)?;
                Ok(changed)
            }),
            Self::Resolver => each(paths, |path| {
                let is_stub =
                    |entry: &Entry| matches!(&entry.kind, Kind::Symlink(to) if to == STUB);
                if !tree.contains(RESOLVED) {
                    let changed = !holds(tree, path, "")?;
                    tree.insert_file(path, 0o644, "")?;
                    Ok(changed)
                } else if tree.get(path).is_some_and(is_stub) {
                    Ok(false)
                } else {
                    tree.insert_symlink(path, STUB)?;
                    Ok(true)
                }
            }),
            Self::LockPasswords => each(paths, |path| {
                if !tree.contains(path) {
                    return Ok(false);
                }
                let text = tree.read_text(path)?;
                let locked = lock(&text);
                let changed = locked != text;
                if changed {
                    tree.replace_content(path, locked)?;
                }
                Ok(changed)
            }),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remove => formatter.write_str("removed"),
            Self::RemoveFiles => formatter.write_str("files removed, directories kept"),
            Self::RemoveBoundToHardware => {
                formatter.write_str("removed if a hardware address is in it")
            }
            Self::Put { text: "", .. } => formatter.write_str("an empty file"),
            Self::Put { text, .. } if text.lines().count() == 1 => {
                write!(formatter, "the text `{}`", text.trim_end())
            }
            Self::Put { .. } => formatter.write_str("the standard text"),
            Self::Resolver => write!(formatter, "a link to `{STUB}`, empty without resolved"),
            Self::LockPasswords => formatter.write_str("every password `*` or `!`, no dates"),
        }
    }
}

fn matching(tree: &Tree, patterns: &[&str]) -> Result<Vec<String>, TreeError> {
    let mut found = Vec::new();
    for pattern in patterns {
        found.extend(tree.glob(pattern)?);
    }
    Ok(found)
}

/// The paths for which the change was one.
fn each(
    paths: &[&str],
    mut change: impl FnMut(&str) -> Result<bool, TreeError>,
) -> Result<Vec<String>, TreeError> {
    let mut changed = Vec::new();
    for path in paths {
        if change(path)? {
            changed.push((*path).to_owned());
        }
    }
    Ok(changed)
}

fn holds(tree: &Tree, path: &str, text: &str) -> Result<bool, TreeError> {
    match tree.get(path).map(|entry| &entry.kind) {
        Some(Kind::File { .. }) => Ok(tree.read(path)? == text.as_bytes()),
        _ => Ok(false),
    }
}

/// Whether a MAC address is in the text, as systemd reads them: 02:00:00:00:00:01, 02-00-…, or 0200.0000.0001.
fn names_hardware(text: &str) -> bool {
    let words = text.split(|c: char| !(c.is_ascii_hexdigit() || ":-.".contains(c)));
    words.into_iter().any(|word| {
        [(':', 6, 2), ('-', 6, 2), ('.', 3, 4)]
            .into_iter()
            .any(|(separator, count, length)| {
                let parts: Vec<&str> = word.split(separator).collect();
                let is_hex = |part: &&str| {
                    part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
                };
                parts.len() == count && parts.iter().all(is_hex)
            })
    })
}

/// shadow(5): a hash becomes `*`; the day of the last change, which would be a day of the build, becomes nothing.
fn lock(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let mut fields: Vec<&str> = line.split(':').collect();
        if let Some(password) = fields.get_mut(1)
            && !(matches!(*password, "*" | "!" | "!*" | "!!"))
        {
            *password = "*";
        }
        // gshadow(5) has four fields, the third being names.
        if fields.len() == 9 {
            fields[2] = "";
        }
        fields.join(":") + "\n"
    });
    lines.collect()
}
