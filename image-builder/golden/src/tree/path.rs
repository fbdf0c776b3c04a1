//! Paths inside the tree: which texts are paths, and where they lead through the tree's own symbolic links.

use std::collections::VecDeque;

use super::{Entry, Kind, Tree, TreeError};

/// As Linux' own limit.
const MAX_LINKS: usize = 40;

/// The components of a path. Slashes at its ends and `.` components say nothing; `..` is refused, because nothing that is
/// put into an image has a reason to climb.
fn components(path: &str) -> Result<VecDeque<&str>, TreeError> {
    let bad = |reason| {
        Err(TreeError::BadPath {
            path: path.into(),
            reason,
        })
    };
    let mut parts = VecDeque::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return bad("it climbs out with '..'"),
            part if part.contains('\0') => return bad("it has a NUL character"),
            part if part.len() > 255 => return bad("a part of it is longer than 255 bytes"),
            part => parts.push_back(part),
        }
    }
    Ok(parts)
}

impl Tree {
    /// Where a path leads, its last component not followed. Every component but the last is a directory that exists.
    pub(super) fn place_of(&self, path: &str) -> Result<String, TreeError> {
        self.walk(path, false, false).map(|(place, _)| place)
    }

    /// Where a path leads, its last component followed too.
    pub(super) fn final_place_of(&self, path: &str) -> Result<String, TreeError> {
        self.walk(path, true, false).map(|(place, _)| place)
    }

    /// As [`Tree::place_of`]; directories that are missing above it are made.
    pub(super) fn make_place(&mut self, path: &str) -> Result<String, TreeError> {
        let (place, missing) = self.walk(path, false, true)?;
        self.make_dirs(missing);
        Ok(place)
    }

    /// Makes sure that the path is a directory, if only through a symbolic link, and says where that is.
    pub fn ensure_dir(&mut self, path: &str) -> Result<String, TreeError> {
        let (place, missing) = self.walk(path, true, true)?;
        self.make_dirs(missing);
        match self.entries.get(&place) {
            None => self.make_dirs(vec![place.clone()]),
            Some(entry) if entry.is_directory() => {}
            Some(_) => {
                return Err(TreeError::NotADirectory {
                    path: path.into(),
                    blocker: place,
                });
            }
        }
        Ok(place)
    }

    fn make_dirs(&mut self, places: Vec<String>) {
        for place in places {
            self.entries
                .insert(place, Entry::of_root(Kind::Directory, 0o755));
        }
    }

    /// Follows a path. Directories that are missing are listed when they may be made, and an error when not.
    fn walk(
        &self,
        path: &str,
        follow_last: bool,
        may_make: bool,
    ) -> Result<(String, Vec<String>), TreeError> {
        let mut left: VecDeque<String> = components(path)?.into_iter().map(str::to_owned).collect();
        let mut place = String::new();
        let mut missing = Vec::new();
        let mut links = 0;
        while let Some(part) = left.pop_front() {
            if part == ".." {
                place.truncate(place.rfind('/').unwrap_or(0));
                continue;
            }
            let next = if place.is_empty() {
                part
            } else {
                format!("{place}/{part}")
            };
            let is_last = left.is_empty();
            match self.entries.get(&next).map(|entry| &entry.kind) {
                Some(Kind::Symlink(target)) if !is_last || follow_last => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(TreeError::BadPath {
                            path: path.into(),
                            reason: "its symbolic links go in a circle",
                        });
                    }
                    if target.starts_with('/') {
                        place.clear();
                    }
                    let parts = target.split('/').filter(|part| !matches!(*part, "" | "."));
                    for part in parts.rev() {
                        left.push_front(part.to_owned());
                    }
                    continue;
                }
                _ if is_last => {}
                Some(Kind::Directory) => {}
                Some(_) => {
                    return Err(TreeError::NotADirectory {
                        path: path.into(),
                        blocker: next,
                    });
                }
                None if may_make => missing.push(next.clone()),
                None => return Err(TreeError::Missing { path: path.into() }),
            }
            place = next;
        }
        Ok((place, missing))
    }
}
