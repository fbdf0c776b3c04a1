//! The boot partition and the root file system, seen alike.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::{Change, Side};
use crate::budget::too_long;
use crate::fat::Fat;
use crate::range::Range;
use crate::root::{Kind, Root};

/// What a path is.
#[derive(Debug, PartialEq, Eq)]
pub enum Is<'a> {
    /// A file of this length.
    File(u64),
    /// A folder.
    Folder,
    /// A symbolic link to this target.
    Symlink(&'a str),
    /// A device, a pipe or a socket: which of them.
    Special(&'static str),
}

/// A path of a file system.
pub struct Item<'a> {
    /// What it is.
    pub is: Is<'a>,
    /// Permission bits, the owner and its group, where there are any.
    pub access: Option<(u16, (u32, u32))>,
}

impl Item<'_> {
    /// What is different about it in the other image, as far as it shows without the content.
    pub fn changes(&self, other: &Self) -> Vec<Change> {
        if self.kind() != other.kind() {
            return vec![Change::Kind];
        }
        let mut changes = Vec::new();
        if let (Is::Symlink(one), Is::Symlink(other)) = (&self.is, &other.is)
            && one != other
        {
            changes.push(Change::Target);
        }
        if let (Some((mode, owner)), Some((other_mode, other_owner))) = (self.access, other.access)
        {
            if mode != other_mode {
                changes.push(Change::Mode);
            }
            if owner != other_owner {
                changes.push(Change::Owner);
            }
        }
        changes
    }

    /// What it is, in a word.
    fn kind(&self) -> &'static str {
        match self.is {
            Is::File(_) => "file",
            Is::Folder => "folder",
            Is::Symlink(_) => "symlink",
            Is::Special(which) => which,
        }
    }

    /// Bytes of a file.
    pub fn size(&self) -> u64 {
        match self.is {
            Is::File(length) => length,
            _ => 0,
        }
    }

    /// How it is shown. A folder that comes or goes as a whole counts what is in it.
    pub fn side(&self, is_whole: bool) -> Side {
        let target = match self.is {
            Is::Symlink(target) => Some(target.to_owned()),
            _ => None,
        };
        Side {
            kind: self.kind(),
            size: self.size(),
            files: (is_whole && self.is == Is::Folder).then_some(0),
            target,
            mode: self.access.map(|(mode, _)| mode),
            owner: self.access.map(|(_, owner)| owner),
        }
    }
}

/// The folder that a path lies in.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The paths of a file system, and what its files hold.
pub trait Tree {
    /// All paths, without a leading slash, and the root folder where it has a mode.
    fn items(&self) -> BTreeMap<&str, Item<'_>>;
    /// Opens a file.
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>>;
}

/// The files of a boot partition.
pub fn boot(partition: Range) -> io::Result<Box<dyn Tree>> {
    Ok(Box::new(Fat::open(partition)?))
}

/// The files of a root partition.
pub fn root(partition: Range) -> io::Result<Box<dyn Tree>> {
    Ok(Box::new(Root::open(partition)?))
}

impl Tree for Fat {
    fn items(&self) -> BTreeMap<&str, Item<'_>> {
        let files = self.files.iter();
        let files = files.map(|(path, length)| (path, Is::File(*length)));
        let folders = self.folders.iter().map(|path| (path, Is::Folder));
        let all = files.chain(folders);
        all.map(|(path, is)| (path.as_str(), Item { is, access: None }))
            .collect()
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.file(path)?))
    }
}

impl Tree for Root {
    fn items(&self) -> BTreeMap<&str, Item<'_>> {
        let nodes = self.nodes.iter().map(|(path, node)| (path.as_str(), node));
        let items = nodes.chain([("", &self.top)]).map(|(path, node)| {
            let is = match &node.kind {
                Kind::File(length) => Is::File(*length),
                Kind::Folder => Is::Folder,
                Kind::Symlink(target) => Is::Symlink(target),
                Kind::Special(which) => Is::Special(which),
            };
            let access = Some((node.mode, (node.uid, node.gid)));
            (path, Item { is, access })
        });
        items.collect()
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>> {
        if let Some(Kind::File(length)) = self.kind(path)
            && *length > self.length
        {
            return Err(too_long());
        }
        Ok(Box::new(self.file(path)?))
    }
}
