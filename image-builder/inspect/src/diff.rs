//! What differs between the files of two images: partition by partition, what a person looks for first.

mod order;
pub mod tree;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::ops;
use std::sync::Arc;

use serde::Serialize;

use crate::gpt::{self, Partition};
use crate::image::check_size;
use crate::plain::plain;
use crate::range::{Range, Storage};
use tree::{Is, Item, Tree, parent};

/// How much of two files is compared at a time.
const BUFFER: usize = 256 << 10;

/// So many times the room of its partitions, an image's files may add up to. Files of holes and further names of a file take no
/// room, and time to compare.
const MOST: u64 = 4;

/// Where a disk image is.
pub struct Disk {
    /// Its bytes.
    pub storage: Arc<dyn Storage>,
    /// How many.
    pub length: u64,
}

/// What can be different about a path that both images have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A file is a folder in the other image, for example.
    Kind,
    /// The bytes of a file.
    Content,
    /// The target of a symbolic link.
    Target,
    /// The permission bits.
    Mode,
    /// The owner, or its group.
    Owner,
}

/// A path in one of the images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Side {
    /// `file`, `folder`, `symlink`, `pipe`, `socket`, `block device` or `character device`.
    pub kind: &'static str,
    /// Bytes of a file, or of all files in a folder that only this image has.
    pub size: u64,
    /// Of a folder that only this image has: how many files, links and devices are in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Of a symbolic link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Permission bits. The boot partition has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u16>,
    /// The owner and its group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<(u32, u32)>,
}

/// A path that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Without a leading slash: the root folder is an empty text. If only one image has a folder, it stands for everything in it.
    pub path: String,
    /// What is different; nothing if only one image has the path.
    pub changes: Vec<Change>,
    /// Does it differ between nearly all images?
    pub expected: bool,
    /// In the old image.
    pub old: Option<Side>,
    /// In the new image.
    pub new: Option<Side>,
}

/// The differences of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// `boot` or `root`.
    pub partition: &'static str,
    /// What a person looks for first, then the others, then what differs between nearly all images; by path in each.
    pub files: Vec<Difference>,
}

/// One of the two images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The first.
    Old,
    /// The second.
    New,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Old => "old",
            Self::New => "new",
        })
    }
}

/// A part of an image could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {what} of the {which} image")]
pub struct UnreadError {
    /// Of which image.
    pub which: Which,
    /// What was being read.
    pub what: String,
    /// Why not.
    pub source: io::Error,
}

/// An error about a part of an image.
fn unread(which: Which, what: impl Into<String>) -> impl FnOnce(io::Error) -> UnreadError {
    move |source| UnreadError {
        which,
        what: what.into(),
        source,
    }
}

/// What two images differ in.
///
/// `is_same` says whether both images have the same bytes in a range; those are not read. `reads` is called with the bytes of
/// each pair of files whose content is compared, and the bytes of all such pairs.
pub fn differences(
    old: &Disk,
    new: &Disk,
    is_same: &dyn Fn(ops::Range<u64>) -> bool,
    reads: &mut dyn FnMut(u64, u64),
) -> Result<Vec<Differences>, UnreadError> {
    let (old, new) = (Parts::of(old, Which::Old)?, Parts::of(new, Which::New)?);
    let mut pairs = Vec::new();
    for (index, partition) in ["boot", "root"].into_iter().enumerate() {
        let (place, other) = (old.place(index), new.place(index));
        let trees = if place == other && is_same(place) {
            None
        } else {
            Some((old.tree(index)?, new.tree(index)?))
        };
        pairs.push((partition, trees));
    }
    let trees = pairs.iter().filter_map(|(_, trees)| trees.as_ref());
    let most = new.room().saturating_mul(MOST);
    let lengths = trees.map(|(old, new)| of_one_length(&**old, &**new, most));
    let total = lengths.fold(0, u64::saturating_add);
    if total > most {
        let why = format!("their lengths add up to more than {MOST} times the room that there is");
        let error = io::Error::new(ErrorKind::InvalidData, why);
        return Err(unread(Which::New, "the files of both partitions")(error));
    }
    let mut all = Vec::new();
    for (partition, trees) in &pairs {
        let files = match trees {
            Some((old, new)) => {
                let reads = &mut |bytes| reads(bytes, total);
                between(partition, &**old, &**new, reads)?
            }
            None => Vec::new(),
        };
        all.push(Differences { partition, files });
    }
    Ok(all)
}

/// Bytes of the files whose content has to be compared. A file that is longer than `most` is refused when it is opened.
fn of_one_length(old: &dyn Tree, new: &dyn Tree, most: u64) -> u64 {
    let (old, new) = (old.items(), new.items());
    let lengths = old.iter().filter_map(|(path, item)| match &item.is {
        Is::File(length) if new.get(path).is_some_and(|new| new.is == item.is) => Some(*length),
        _ => None,
    });
    let lengths = lengths.filter(|length| *length <= most);
    lengths.fold(0, u64::saturating_add)
}

/// A disk and its first two partitions.
struct Parts {
    which: Which,
    disk: Range,
    partitions: [Partition; 2],
}

impl Parts {
    fn of(disk: &Disk, which: Which) -> Result<Self, UnreadError> {
        const TABLE: &str = "the partition table";
        let invalid = |why: String| io::Error::new(ErrorKind::InvalidData, why);
        let sized = check_size(disk.length).map_err(invalid);
        sized.map_err(unread(which, TABLE))?;
        let range = Range::new(Arc::clone(&disk.storage), 0, disk.length);
        let table = gpt::read(&range).and_then(|table| table.map_err(invalid));
        let table = table.map_err(unread(which, TABLE))?;
        let [boot, root, ..] = &table.partitions[..] else {
            let why = invalid("it has no boot and root partition".to_owned());
            return Err(unread(which, TABLE)(why));
        };
        let partitions = [boot.clone(), root.clone()];
        Ok(Self {
            which,
            disk: range,
            partitions,
        })
    }

    fn place(&self, index: usize) -> ops::Range<u64> {
        let Partition { start, length, .. } = self.partitions[index];
        start..start + length
    }

    /// Bytes of both partitions.
    fn room(&self) -> u64 {
        let lengths = self.partitions.iter().map(|partition| partition.length);
        lengths.fold(0, u64::saturating_add)
    }

    fn tree(&self, index: usize) -> Result<Box<dyn Tree>, UnreadError> {
        let ops::Range { start, end } = self.place(index);
        let partition = self.disk.part(start, end - start);
        let (opened, what) = match index {
            0 => (tree::boot(partition), "the boot partition (FAT)"),
            _ => (tree::root(partition), "the root partition (ext4)"),
        };
        opened.map_err(unread(self.which, what))
    }
}

/// What differs between two trees.
pub fn between(
    partition: &str,
    old: &dyn Tree,
    new: &dyn Tree,
    reads: &mut dyn FnMut(u64),
) -> Result<Vec<Difference>, UnreadError> {
    let (in_old, in_new) = (old.items(), new.items());
    let paths: BTreeSet<&str> = in_old
        .keys()
        .chain(in_new.keys())
        .map(|path| &**path)
        .collect();
    let mut found: Vec<Difference> = Vec::new();
    // What only one image has, or has as another kind: what is in it is counted there.
    let mut whole: HashMap<&str, usize> = HashMap::new();
    for path in paths {
        let (one, other) = (in_old.get(path), in_new.get(path));
        if let Some(&index) = whole.get(parent(path)) {
            found[index].count(one, other);
            whole.insert(path, index);
            continue;
        }
        let mut changes = match (one, other) {
            (Some(one), Some(other)) => one.changes(other),
            _ => Vec::new(),
        };
        if let (Some(Is::File(one)), Some(Is::File(other))) =
            (one.map(|item| &item.is), other.map(|item| &item.is))
        {
            let differ = one != other || {
                reads(*one);
                !equal(partition, path, old, new)?
            };
            if differ {
                changes.insert(0, Change::Content);
            }
        }
        let is_whole = one.is_none() || other.is_none() || changes.contains(&Change::Kind);
        if is_whole {
            whole.insert(path, found.len());
        } else if changes.is_empty() {
            continue;
        }
        let side = |item: Option<&Item>| item.map(|item| item.side(is_whole));
        found.push(Difference {
            path: path.to_owned(),
            expected: order::is_expected(partition, path),
            old: side(one),
            new: side(other),
            changes,
        });
    }
    found.sort_by_cached_key(|difference| order::of(partition, difference));
    Ok(found)
}

impl Difference {
    /// What only one of the images has in a folder.
    fn count(&mut self, old: Option<&Item>, new: Option<&Item>) {
        for (side, item) in [(&mut self.old, old), (&mut self.new, new)] {
            let (Some(side), Some(item)) = (side, item) else {
                continue;
            };
            side.size = side.size.saturating_add(item.size());
            if let (Some(files), false) = (&mut side.files, item.is == Is::Folder) {
                *files += 1;
            }
        }
    }
}

/// Whether two files of one length have the same bytes.
fn equal(partition: &str, path: &str, old: &dyn Tree, new: &dyn Tree) -> Result<bool, UnreadError> {
    let failed = |which| {
        unread(
            which,
            format!("/{} in the {partition} partition", plain(path)),
        )
    };
    let mut one = old.open(path).map_err(failed(Which::Old))?;
    let mut other = new.open(path).map_err(failed(Which::New))?;
    let mut buffers = [vec![0; BUFFER], vec![0; BUFFER]];
    let [left, right] = &mut buffers;
    loop {
        let length = fill(&mut *one, left).map_err(failed(Which::Old))?;
        let same = fill(&mut *other, right).map_err(failed(Which::New))?;
        if left[..length] != right[..same] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full, or to the end.
fn fill(file: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}
