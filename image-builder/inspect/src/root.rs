//! The root file system as a list of paths, read with a crate that shares nothing with what wrote it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};

use ext4_view::{Ext4, Ext4Error, FileType, PathBuf};

use crate::budget::{Budget, too_deep, two_of};
use crate::plain::plain;
use crate::range::Range;

/// No file that a rule reads whole is longer.
const MAX_TEXT: u64 = 4 << 20;

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of this length.
    File(u64),
    /// A folder.
    Folder,
    /// A symbolic link to this target.
    Symlink(String),
    /// A device, a pipe or a socket: which of them.
    Special(&'static str),
}

/// One path.
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// The owner's group.
    pub gid: u32,
    /// The path as its bytes are, with which it can be opened.
    pub raw: PathBuf,
}

/// The root file system.
pub struct Root {
    system: Ext4,
    /// Bytes of the partition.
    pub length: u64,
    /// The folder that all others lie in.
    pub top: Node,
    /// All other paths, without a leading slash.
    pub nodes: BTreeMap<String, Node>,
}

/// Linux' `PATH_MAX`.
const LONGEST_LINK: u64 = 4096;

/// Folders in folders that no image has.
const MAX_DEPTH: usize = 64;

/// Bytes for the list of all paths. A Debian with k3s needs a tenth of it.
const MAX_LIST: usize = 128 << 20;

/// A path as text. No two paths have the same.
fn text(path: &[u8]) -> String {
    let names: Vec<_> = path.split(|byte| *byte == b'/').map(name).collect();
    names.join("/")
}

/// A name that is not text is escaped, and a name that could be taken for such a one too.
fn name(bytes: &[u8]) -> Cow<'_, str> {
    // An escaped byte is not ASCII, so 8 to f is its first half.
    let is_like =
        |part: &[u8]| part.starts_with(br"\x") && matches!(part[2], b'8' | b'9' | b'a'..=b'f');
    match str::from_utf8(bytes) {
        Ok(name) if !bytes.windows(3).any(is_like) => name.into(),
        _ => bytes.escape_ascii().to_string().into(),
    }
}

/// A path in an error.
fn shown(path: &PathBuf) -> String {
    plain(&text(path.as_ref()))
}

/// A reader's error as one of I/O.
pub fn io_error(error: Ext4Error) -> io::Error {
    match error {
        Ext4Error::NotFound => ErrorKind::NotFound.into(),
        other => io::Error::other(other),
    }
}

/// The reader takes memory for each group that the superblock claims, before it reads one. Offsets are as in the kernel's
/// `struct ext4_super_block`.
fn must_fit(partition: &Range) -> io::Result<()> {
    let superblock = partition.vec_at(1024, 1024)?;
    let u32_at = |at: usize| {
        let bytes = [0, 1, 2, 3].map(|byte| superblock[at + byte]);
        u64::from(u32::from_le_bytes(bytes))
    };
    let blocks = u32_at(0x4) | u32_at(0x150) << 32;
    // 1 KiB shifted by this; the largest block is 64 KiB.
    let size = 1024 << u32_at(0x18).min(6);
    if blocks > partition.len() / size {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            "the file system claims to be longer than its partition",
        ));
    }
    Ok(())
}

/// What the reader says of a path.
fn at(path: &PathBuf, error: Ext4Error) -> io::Error {
    let error = io_error(error);
    io::Error::new(error.kind(), format!("{}: {error}", shown(path)))
}

/// What is at this path.
fn node(system: &Ext4, raw: PathBuf) -> io::Result<Node> {
    let metadata = system
        .symlink_metadata(&raw)
        .map_err(|error| at(&raw, error))?;
    let kind = match metadata.file_type() {
        FileType::Regular => Kind::File(metadata.len()),
        FileType::Directory => Kind::Folder,
        // The reader takes as much memory as the length says.
        FileType::Symlink if metadata.len() > LONGEST_LINK => {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("the symbolic link {} is too long", shown(&raw)),
            ));
        }
        FileType::Symlink => {
            let target = system.read_link(&raw).map_err(|error| at(&raw, error))?;
            Kind::Symlink(text(target.as_ref()))
        }
        FileType::BlockDevice => Kind::Special("block device"),
        FileType::CharacterDevice => Kind::Special("character device"),
        FileType::Fifo => Kind::Special("pipe"),
        FileType::Socket => Kind::Special("socket"),
    };
    Ok(Node {
        kind,
        mode: metadata.mode(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        raw,
    })
}

impl Root {
    /// Opens the file system in this partition and lists it whole.
    pub fn open(partition: Range) -> io::Result<Self> {
        must_fit(&partition)?;
        let length = partition.len();
        let system = Ext4::load(Box::new(partition)).map_err(io_error)?;
        let mut nodes = BTreeMap::new();
        let mut budget = Budget::of(MAX_LIST);
        let top = node(&system, PathBuf::new("/"))?;
        let mut waiting = vec![(top.raw.clone(), MAX_DEPTH)];
        while let Some((folder, deeper)) = waiting.pop() {
            let entries = system
                .read_dir(&folder)
                .map_err(|error| at(&folder, error))?;
            for entry in entries {
                let entry = entry.map_err(|error| at(&folder, error))?;
                let name = entry.file_name();
                if name == "." || name == ".." {
                    continue;
                }
                let node = node(&system, entry.path())?;
                let path = text(node.raw.as_ref());
                let target = match &node.kind {
                    Kind::Symlink(target) => target.len(),
                    _ => 0,
                };
                budget.take(&path, target)?;
                if node.kind == Kind::Folder {
                    let deeper = deeper.checked_sub(1).ok_or_else(too_deep)?;
                    waiting.push((node.raw.clone(), deeper));
                }
                let key = path.trim_start_matches('/').to_owned();
                if nodes.insert(key, node).is_some() {
                    return Err(two_of(&path));
                }
            }
        }
        Ok(Self {
            system,
            length,
            top,
            nodes,
        })
    }

    /// The label of the file system.
    pub fn label(&self) -> String {
        self.system.label().display().to_string()
    }

    /// The UUID of the file system.
    pub fn uuid(&self) -> String {
        self.system.uuid().to_string()
    }

    /// What this path is, if it is there.
    pub fn kind(&self, path: &str) -> Option<&Kind> {
        self.nodes.get(path).map(|node| &node.kind)
    }

    /// Opens a regular file.
    pub fn file(&self, path: &str) -> io::Result<impl Read + use<>> {
        let node = self.nodes.get(path).ok_or(ErrorKind::NotFound)?;
        self.system.open(&node.raw).map_err(io_error)
    }

    /// The bytes of the regular file that a program finds at this path, by links too; `None` if it finds none.
    pub fn bytes(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(path) = self.resolve(path) else {
            return Ok(None);
        };
        let Some(Kind::File(_)) = self.kind(&path) else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        self.file(&path)?.take(MAX_TEXT).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// The same as text.
    pub fn text(&self, path: &str) -> io::Result<Option<String>> {
        let bytes = self.bytes(path)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The paths directly in the folder that a program finds at this path, by links too.
    pub fn in_folder<'a>(
        &'a self,
        folder: &str,
    ) -> impl Iterator<Item = (&'a str, &'a Node)> + use<'a> {
        let folder = self.resolve(folder).unwrap_or_else(|| folder.to_owned());
        self.nodes
            .range(format!("{folder}/")..format!("{folder}0"))
            .filter(move |(path, _)| !path[folder.len() + 1..].contains('/'))
            .map(|(path, node)| (path.as_str(), node))
    }

    /// Follows links and the merged /usr to the path that really is there.
    pub fn resolve(&self, path: &str) -> Option<String> {
        let found = self.system.canonicalize(format!("/{path}").as_str()).ok()?;
        Some(text(found.as_ref()).trim_start_matches('/').to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs::File;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::FileExt;
    use std::process::Command;
    use std::sync::Arc;

    use super::*;

    fn run(program: &str, arguments: &[&str]) {
        let output = Command::new(program).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(output.status.success(), "{program}: {output:?}");
    }

    fn opened(image: &str) -> io::Result<Root> {
        let file = File::open(image).expect("the image");
        let length = file.metadata().expect("its length").len();
        Root::open(Range::new(Arc::new(file), 0, length))
    }

    /// The reader would take 23 GiB for it.
    #[test]
    fn a_superblock_that_claims_more_than_there_is_is_refused() {
        const LENGTH: u64 = 512 << 10;
        let file = tempfile::tempfile().expect("a file");
        file.set_len(LENGTH).expect("long enough");
        let put = |at: u64, value: u32| {
            let bytes = value.to_le_bytes();
            file.write_all_at(&bytes, 1024 + at).expect("written");
        };
        put(0x4, u32::MAX);
        put(0x20, 8);
        put(0x38, 0xef53);
        let file: Arc<File> = Arc::new(file.try_clone().expect("a file"));
        let error = Root::open(Range::new(file, 0, LENGTH))
            .err()
            .expect("refused");
        assert!(
            error.to_string().contains("longer than its partition"),
            "{error}"
        );
    }

    /// The reader would take as much memory as it says.
    #[test]
    fn a_link_that_claims_to_be_longer_than_any_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let (image, tree) = (folder.path().join("image"), folder.path().join("tree"));
        std::fs::create_dir(&tree).expect("a folder");
        // Longer than what an inode has room for.
        std::os::unix::fs::symlink("x".repeat(80), tree.join("link")).expect("a link");
        let (image, tree) = (image.to_string_lossy(), tree.to_string_lossy());
        run("mke2fs", &["-q", "-t", "ext4", "-d", &tree, &image, "1M"]);
        assert!(matches!(
            opened(&image).expect("a file system").kind("link"),
            Some(Kind::Symlink(_))
        ));
        run(
            "debugfs",
            &["-w", "-R", "set_inode_field link size 0x7fffffff", &image],
        );
        let error = opened(&image).err().expect("refused").to_string();
        assert!(
            error.contains("the symbolic link /link is too long"),
            "{error}"
        );
    }

    /// One of them would hide the other.
    #[test]
    fn names_that_are_not_text_are_kept_apart_from_those_that_look_like_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let (image, tree) = (folder.path().join("image"), folder.path().join("tree"));
        std::fs::create_dir_all(tree.join("ü")).expect("a folder");
        for name in [&b"\xff"[..], br"\xff", br"\x2d"] {
            std::fs::write(tree.join("ü").join(OsStr::from_bytes(name)), "").expect("a file");
        }
        let (image, tree) = (image.to_string_lossy(), tree.to_string_lossy());
        let features = ["-q", "-t", "ext4", "-O", "^metadata_csum"];
        run(
            "mke2fs",
            &[&features[..], &["-d", &tree, &image, "1M"]].concat(),
        );
        let root = opened(&image).expect("a file system");
        let names: Vec<_> = root.in_folder("ü").map(|(path, _)| path).collect();
        assert_eq!(names, [r"ü/\\xff", r"ü/\x2d", r"ü/\xff"]);
        let mut bytes = std::fs::read(&*image).expect("the image");
        let found = bytes.windows(4).position(|part| part == br"\x2d");
        let at = found.expect("the name");
        bytes[at..at + 4].copy_from_slice(br"\xff");
        std::fs::write(&*image, bytes).expect("written");
        let error = opened(&image).err().expect("refused").to_string();
        assert!(error.contains("two files of the name /ü/"), "{error}");
    }

    #[test]
    fn folders_that_lead_into_each_other_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let image = folder.path().join("image");
        let shown = image.to_string_lossy();
        for (program, arguments) in [
            ("mke2fs", &["-q", "-t", "ext4", &shown, "1M"][..]),
            ("debugfs", &["-w", "-R", "mkdir a", &shown]),
            ("debugfs", &["-w", "-R", "ln / a/b", &shown]),
        ] {
            run(program, arguments);
        }
        let error = opened(&shown).err().expect("refused").to_string();
        assert!(error.contains("lead into each other"), "{error}");
    }
}
