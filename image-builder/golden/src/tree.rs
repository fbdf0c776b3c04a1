//! A root file system as a value: names, owners, modes and extended attributes in memory, file contents left where
//! they are (in a tar file, in a file of the host). Nothing is unpacked, so nothing needs root.

mod content;
mod error;
mod path;
mod tar;

use std::collections::BTreeMap;
use std::io::Read;

use globset::GlobBuilder;

pub use content::Content;
pub use error::TreeError;

/// A modification time of "when the image was made": written as the source date.
pub const NOW: u64 = u64::MAX;

/// What an entry is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A regular file. Files with the same link number are one inode with several names.
    File {
        /// Its bytes.
        content: Content,
        /// The number it shares with its other names.
        link: Option<usize>,
    },
    /// A directory.
    Directory,
    /// A symbolic link and its target.
    Symlink(String),
    /// A character device, major and minor.
    CharDevice(u32, u32),
    /// A block device, major and minor.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// One entry of the tree.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, 0o7777 at most.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970; [`NOW`] for what the builder makes.
    pub mtime: u64,
    /// Extended attributes by full name (`security.capability`).
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

impl Entry {
    /// An entry of root's, made now.
    #[must_use]
    pub fn of_root(kind: Kind, mode: u32) -> Self {
        Self {
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: NOW,
            xattrs: BTreeMap::new(),
        }
    }

    /// Whether this is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }
}

/// A root file system. Paths have no leading slash (`etc/hostname`); the root itself is the empty path.
///
/// Every path is followed through the tree's own symbolic links, as a kernel that runs in the image would: what is put
/// to `lib/x` lies in `usr/lib/x` where `lib` is a link. The last component is not followed, except by [`Tree::read`].
#[derive(Clone, Debug)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
    links: usize,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            entries: BTreeMap::from([(String::new(), Entry::of_root(Kind::Directory, 0o755))]),
            links: 0,
        }
    }
}

impl Tree {
    /// The entry of this path; a symbolic link is itself.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(&self.place_of(path).ok()?)
    }

    /// Whether there is an entry of this path.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        self.get(path).is_some()
    }

    /// The bytes of a regular file, through symbolic links.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, TreeError> {
        let mut bytes = Vec::new();
        let opened = self.open(path)?.read_to_end(&mut bytes);
        opened.map_err(|source| TreeError::Io {
            action: "read the image's file",
            path: path.into(),
            source,
        })?;
        Ok(bytes)
    }

    /// The bytes of a regular file as a stream, through symbolic links.
    pub fn open(&self, path: &str) -> Result<Box<dyn Read + '_>, TreeError> {
        let place = self.final_place_of(path)?;
        match self.entries.get(&place).map(|entry| &entry.kind) {
            Some(Kind::File { content, .. }) => content.open(),
            Some(_) => Err(TreeError::NotAFile { path: path.into() }),
            None => Err(TreeError::Missing { path: path.into() }),
        }
    }

    /// The text of a regular file, through symbolic links; bytes that are not UTF-8 become U+FFFD.
    pub fn read_text(&self, path: &str) -> Result<String, TreeError> {
        Ok(String::from_utf8_lossy(&self.read(path)?).into_owned())
    }

    /// Puts an entry here and makes the directories above it. It replaces an existing entry, except a directory.
    pub fn insert(&mut self, path: &str, entry: Entry) -> Result<(), TreeError> {
        let place = self.make_place(path)?;
        match self.entries.get_mut(&place) {
            Some(old) if old.is_directory() && entry.is_directory() => *old = entry,
            Some(old) if old.is_directory() => {
                return Err(TreeError::IsADirectory { path: place });
            }
            _ => {
                self.entries.insert(place, entry);
            }
        }
        Ok(())
    }

    /// Puts a file of root's here.
    pub fn insert_file(
        &mut self,
        path: &str,
        mode: u32,
        content: impl Into<Content>,
    ) -> Result<(), TreeError> {
        let kind = Kind::File {
            content: content.into(),
            link: None,
        };
        self.insert(path, Entry::of_root(kind, mode))
    }

    /// Puts a directory of root's here; a directory that is there, if only through a symbolic link, gets this mode.
    pub fn insert_dir(&mut self, path: &str, mode: u32) -> Result<(), TreeError> {
        let place = self.ensure_dir(path)?;
        if let Some(entry) = self.entries.get_mut(&place) {
            entry.mode = mode;
        }
        Ok(())
    }

    /// Puts a symbolic link of root's here.
    pub fn insert_symlink(&mut self, path: &str, target: &str) -> Result<(), TreeError> {
        self.insert(
            path,
            Entry::of_root(Kind::Symlink(target.to_owned()), 0o777),
        )
    }

    /// Gives a regular file new bytes (through symbolic links) and leaves owner, mode and attributes as they are.
    pub fn replace_content(
        &mut self,
        path: &str,
        bytes: impl Into<Content>,
    ) -> Result<(), TreeError> {
        let place = self.final_place_of(path)?;
        let entry = self
            .entries
            .get_mut(&place)
            .ok_or_else(|| TreeError::Missing { path: path.into() })?;
        let Kind::File { content, link } = &mut entry.kind else {
            return Err(TreeError::NotAFile { path: path.into() });
        };
        *content = bytes.into();
        *link = None;
        entry.mtime = NOW;
        Ok(())
    }

    /// Takes away one entry; a directory only when it is empty. Says whether there was one.
    pub fn remove(&mut self, path: &str) -> Result<bool, TreeError> {
        let Ok(place) = self.place_of(path) else {
            return Ok(false);
        };
        if place.is_empty() || self.below(&place).next().is_some() {
            return Err(TreeError::IsADirectory { path: place });
        }
        Ok(self.entries.remove(&place).is_some())
    }

    /// Takes away an entry and all below it. Says how many entries went.
    pub fn remove_tree(&mut self, path: &str) -> usize {
        let Ok(place) = self.place_of(path) else {
            return 0;
        };
        let doomed: Vec<String> = self.below(&place).map(str::to_owned).collect();
        for path in &doomed {
            self.entries.remove(path);
        }
        let own = !place.is_empty() && self.entries.remove(&place).is_some();
        doomed.len() + usize::from(own)
    }

    /// All entries in the order of their paths, a directory before what is in it. The root is first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries
            .iter()
            .map(|(path, entry)| (path.as_str(), entry))
    }

    /// The paths that match a pattern: `*` and `?` stay within a component, `**` does not, `{a,b}` is either, also of nothing.
    pub fn glob(&self, pattern: &str) -> Result<Vec<String>, TreeError> {
        let matcher = GlobBuilder::new(pattern)
            .literal_separator(true)
            .empty_alternates(true)
            .build()
            .map_err(|source| TreeError::BadPattern {
                pattern: pattern.into(),
                source,
            })?
            .compile_matcher();
        Ok(self
            .entries
            .keys()
            .filter(|path| matcher.is_match(path))
            .cloned()
            .collect())
    }

    /// The paths below a directory, its own left out.
    fn below(&self, place: &str) -> impl Iterator<Item = &str> {
        let prefix = if place.is_empty() {
            String::new()
        } else {
            format!("{place}/")
        };
        self.entries
            .range(prefix.clone()..)
            .map(|(path, _)| path.as_str())
            .take_while(move |path| path.starts_with(&prefix))
            .filter(|path| !path.is_empty())
    }
}
