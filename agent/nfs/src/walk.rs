//! From a path to a handle, through symbolic links.
//!
//! NFS leaves links to the client. This one follows them as long as they stay in what the server exports: the target is
//! looked for in the directory that is mounted; where it is above that, the nearest directory above is mounted instead,
//! if the server exports it, and the way begins again from there. So no link leads from one export into another.

use nfs3_types::nfs3::ftype3;

use crate::connection::{Connection, Server};
use crate::limits::MAX_LINKS;
use crate::mount::{mount_at, parent};
use crate::reply::Entry;
use crate::{At, LinkProblem, NfsError};

/// How a way through the directories ended.
enum Way {
    Arrived(Entry),
    /// A link leads out of what is mounted. Its target has this directory in common with it.
    Leaves {
        above: String,
        target: String,
    },
}

/// The names on the way that are still to be looked up, the next one last.
struct Ahead(Vec<Vec<u8>>);

impl Ahead {
    fn push(&mut self, path: &[u8]) {
        let names = path.split(|byte| *byte == b'/').rev();
        let names = names.filter(|name| !name.is_empty() && *name != b".");
        self.0.extend(names.map(<[u8]>::to_vec));
    }
}

impl Connection {
    /// What is at an absolute path of the server, which begins with the share's directory.
    pub fn locate(&mut self, server: &Server, path: &str, at: &At) -> Result<Entry, NfsError> {
        let mut links = 0;
        loop {
            let (above, target) = match self.walk(path, at, &mut links)? {
                Way::Arrived(entry) => return Ok(entry),
                Way::Leaves { above, target } => (above, target),
            };
            match mount_at(server, self.address, self.mounted.port, &above) {
                Ok(mounted) => self.mounted = mounted,
                Err(NfsError::MountRefused { .. }) => {
                    return Err(NfsError::Link {
                        at: at.clone(),
                        target,
                        problem: LinkProblem::Outside,
                    });
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn walk(&mut self, path: &str, at: &At, links: &mut usize) -> Result<Way, NfsError> {
        let top = self.mounted.handle.clone();
        let mut ahead = Ahead(Vec::new());
        ahead.push(&path.as_bytes()[self.mounted.path.len()..]);
        // The directories between the mounted one and where the way has come to.
        let mut trail: Vec<Entry> = Vec::new();
        let mut last_target: Option<String> = None;
        while let Some(name) = ahead.0.pop() {
            if name == b".." {
                // Above the root of everything there is only the root.
                if trail.pop().is_none()
                    && let Some(above) = parent(&self.mounted.path)
                {
                    return Ok(Way::Leaves {
                        above: above.to_owned(),
                        target: last_target.unwrap_or_default(),
                    });
                }
                continue;
            }
            let directory = trail.last().map_or(&top, |entry| &entry.handle);
            let entry = match (self.look_up(directory, &name, at), &last_target) {
                (Err(NfsError::NotFound { at }), Some(target)) => {
                    return Err(NfsError::Link {
                        at,
                        target: target.clone(),
                        problem: LinkProblem::Dangling,
                    });
                }
                (result, _) => result?,
            };
            if entry.kind != Some(ftype3::NF3LNK) {
                trail.push(entry);
                continue;
            }
            let target = self.read_link(&entry.handle, at)?;
            let text = String::from_utf8_lossy(&target).into_owned();
            *links += 1;
            if *links > MAX_LINKS {
                return Err(NfsError::Link {
                    at: at.clone(),
                    target: text,
                    problem: LinkProblem::TooMany,
                });
            }
            match below(&self.mounted.path, &target) {
                Target::Relative => ahead.push(&target),
                Target::Below(rest) => {
                    trail.clear();
                    ahead.push(rest);
                }
                Target::Elsewhere { above } => {
                    return Ok(Way::Leaves {
                        above,
                        target: text,
                    });
                }
            }
            last_target = Some(text);
        }
        Ok(Way::Arrived(trail.pop().unwrap_or(Entry {
            handle: top,
            kind: self.mounted_kind,
        })))
    }
}

/// Where the target of a link is, seen from the mounted directory.
#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    /// It starts at the link.
    Relative,
    /// Absolute, and inside.
    Below(&'a [u8]),
    /// Absolute, and outside. Both are in this directory.
    Elsewhere { above: String },
}

fn below<'a>(mounted: &str, target: &'a [u8]) -> Target<'a> {
    if !target.starts_with(b"/") {
        return Target::Relative;
    }
    let is_in = |directory: &str| {
        let rest = target.strip_prefix(directory.as_bytes())?;
        (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
    };
    if let Some(rest) = is_in(mounted) {
        return Target::Below(rest);
    }
    let mut above = mounted;
    while let Some(directory) = parent(above).filter(|directory| *directory != "/") {
        above = directory;
        if is_in(above).is_some() {
            return Target::Elsewhere {
                above: above.to_owned(),
            };
        }
    }
    Target::Elsewhere {
        above: "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Ahead, Target, below};

    #[test]
    fn the_target_of_a_link_is_inside_or_has_a_directory_in_common() {
        let elsewhere = |above: &str| Target::Elsewhere {
            above: above.to_owned(),
        };
        for (mounted, target, expected) in [
            ("/srv/gild/rpi5", "a/b", Target::Relative),
            ("/srv/gild/rpi5", "../a", Target::Relative),
            ("/srv/gild/rpi5", "/srv/gild/rpi5/a", Target::Below(b"/a")),
            ("/srv/gild/rpi5", "/srv/gild/rpi5", Target::Below(b"")),
            ("/srv/gild/rpi5", "/srv/gild/rpi55", elsewhere("/srv/gild")),
            ("/srv/gild/rpi5", "/srv/gild", elsewhere("/srv/gild")),
            ("/srv/gild/rpi5", "/srv/x/y", elsewhere("/srv")),
            ("/srv/gild/rpi5", "/etc/passwd", elsewhere("/")),
            ("/srv", "/etc", elsewhere("/")),
            ("", "/etc", Target::Below(b"/etc")),
        ] {
            assert_eq!(below(mounted, target.as_bytes()), expected, "{target}");
        }
    }

    #[test]
    fn names_that_lead_nowhere_are_left_out() {
        let mut ahead = Ahead(Vec::new());
        ahead.push(b"/later");
        ahead.push(b"./a//../b/");
        let next: Vec<_> = ahead.0.iter().rev().map(Vec::as_slice).collect();
        assert_eq!(next, [&b"a"[..], b"..", b"b", b"later"]);
    }
}
