//! Reads a tree from a tar file, and writes it into one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use tar::{Archive, Builder, EntryType, Header};

use super::content::Content;
use super::{Entry, Kind, Tree, TreeError};

mod xattrs;

/// The pax key of an extended attribute, as GNU tar, bsdtar and star write it.
const XATTR: &str = "SCHILY.xattr.";

/// What GNU tar and libarchive take for "the name of the next entry's link target".
const LONG_LINK: &str = "././@LongLink";

impl Tree {
    /// The tree of an uncompressed tar file. The file stays open, because the contents are read from it later.
    pub fn from_tar(path: &Path) -> Result<Self, TreeError> {
        let io = |source| TreeError::Io {
            action: "read the root file system's tar",
            path: path.into(),
            source,
        };
        let file = Arc::new(File::open(path).map_err(io)?);
        let mut archive = Archive::new(&*file);
        let mut reader = Reader {
            tar: path,
            file: &file,
            tree: Self::default(),
        };
        let length = file.metadata().map_err(io)?.len();
        let mut end_of_last = 0;
        for entry in archive.entries_with_seek().map_err(io)? {
            let entry = entry.map_err(io)?;
            let xattrs =
                xattrs::between(&file, end_of_last, entry.raw_header_position()).map_err(io)?;
            end_of_last = entry.raw_file_position() + entry.size().next_multiple_of(512);
            if end_of_last > length {
                return Err(io(io::ErrorKind::UnexpectedEof.into()));
            }
            reader.add(&entry, xattrs)?;
        }
        Ok(reader.tree)
    }

    /// Writes the tree as a tar file: in the order of the paths, numeric owners only, and no modification time later
    /// than the source date (seconds since 1970). Equal trees give equal bytes.
    pub fn write_tar(&self, output: &mut impl Write, source_date: u64) -> Result<(), TreeError> {
        let mut builder = Builder::new(output);
        let mut first_names: BTreeMap<usize, &str> = BTreeMap::new();
        for (path, entry) in self.iter() {
            let mut header = Header::new_gnu();
            header.set_mode(entry.mode);
            header.set_uid(entry.uid.into());
            header.set_gid(entry.gid.into());
            header.set_mtime(entry.mtime.min(source_date));
            header.set_size(0);
            let written = (|| {
                match &entry.kind {
                    Kind::File {
                        content,
                        link: Some(number),
                    } => match first_names.entry(*number) {
                        Slot::Occupied(first) => {
                            header.set_entry_type(EntryType::Link);
                            append_link(&mut builder, header, path, first.get())?;
                        }
                        Slot::Vacant(slot) => {
                            slot.insert(path);
                            append_file(&mut builder, header, path, entry, content)?;
                        }
                    },
                    Kind::File {
                        content,
                        link: None,
                    } => append_file(&mut builder, header, path, entry, content)?,
                    Kind::Symlink(target) => {
                        append_xattrs(&mut builder, entry)?;
                        header.set_entry_type(EntryType::Symlink);
                        append_link(&mut builder, header, path, target)?;
                    }
                    other => {
                        append_xattrs(&mut builder, entry)?;
                        set_special(&mut header, other)?;
                        let name = if entry.is_directory() {
                            format!("./{path}")
                        } else {
                            path.to_owned()
                        };
                        builder.append_data(&mut header, name, io::empty())?;
                    }
                }
                Ok(())
            })();
            written.map_err(|source| TreeError::Io {
                action: "write into the root file system's tar",
                path: path.into(),
                source,
            })?;
        }
        let finished = builder.finish();
        finished.map_err(|source| TreeError::Io {
            action: "finish",
            path: "the root file system's tar".into(),
            source,
        })
    }
}

fn set_special(header: &mut Header, kind: &Kind) -> io::Result<()> {
    let (entry_type, numbers) = match kind {
        Kind::CharDevice(major, minor) => (EntryType::Char, Some((*major, *minor))),
        Kind::BlockDevice(major, minor) => (EntryType::Block, Some((*major, *minor))),
        Kind::Fifo => (EntryType::Fifo, None),
        _ => (EntryType::Directory, None),
    };
    header.set_entry_type(entry_type);
    if let Some((major, minor)) = numbers {
        header.set_device_major(major)?;
        header.set_device_minor(minor)?;
    }
    Ok(())
}

fn append_xattrs(builder: &mut Builder<&mut impl Write>, entry: &Entry) -> io::Result<()> {
    let records: Vec<(String, &[u8])> = entry
        .xattrs
        .iter()
        .map(|(name, value)| (format!("{XATTR}{name}"), value.as_slice()))
        .collect();
    builder.append_pax_extensions(records.iter().map(|(key, value)| (key.as_str(), *value)))
}

fn append_file(
    builder: &mut Builder<&mut impl Write>,
    mut header: Header,
    path: &str,
    entry: &Entry,
    content: &Content,
) -> io::Result<()> {
    append_xattrs(builder, entry)?;
    header.set_entry_type(EntryType::Regular);
    header.set_size(content.length());
    let mut counted = Counted {
        inner: content.open().map_err(io::Error::other)?,
        count: 0,
    };
    builder.append_data(&mut header, path, &mut counted)?;
    // The header has promised this length to every entry that follows.
    if counted.count == content.length() {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it became shorter while the image was being made",
        ))
    }
}

/// Not the crate's own `append_link`, which tidies targets: a link's target is written as it is.
fn append_link(
    builder: &mut Builder<&mut impl Write>,
    mut header: Header,
    path: &str,
    target: &str,
) -> io::Result<()> {
    if header.set_link_name_literal(target).is_err() {
        let mut long = Header::new_gnu();
        long.set_path(LONG_LINK)?;
        long.set_mode(0o644);
        long.set_uid(0);
        long.set_gid(0);
        long.set_mtime(0);
        long.set_entry_type(EntryType::GNULongLink);
        long.set_size(target.len() as u64 + 1);
        long.set_cksum();
        builder.append(&long, &[target.as_bytes(), &[0]].concat()[..])?;
    }
    builder.append_data(&mut header, path, io::empty())
}

struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: io::Read> io::Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.count += got as u64;
        Ok(got)
    }
}

struct Reader<'a> {
    tar: &'a Path,
    file: &'a Arc<File>,
    tree: Tree,
}

impl Reader<'_> {
    fn add(
        &mut self,
        entry: &tar::Entry<'_, impl io::Read>,
        xattrs: BTreeMap<String, Vec<u8>>,
    ) -> Result<(), TreeError> {
        let header = entry.header();
        let bytes = entry.path_bytes();
        let unsupported = |what: &str| TreeError::Unsupported {
            tar: self.tar.into(),
            path: String::from_utf8_lossy(&bytes).into_owned(),
            what: what.into(),
        };
        let path = str::from_utf8(&bytes).map_err(|_| unsupported("its name is not UTF-8"))?;
        let number = |value: io::Result<u64>| {
            value
                .ok()
                .and_then(|value| u32::try_from(value).ok())
                .ok_or_else(|| unsupported("its mode or owner is not a number"))
        };
        let target = || {
            let bytes = entry
                .link_name_bytes()
                .ok_or_else(|| unsupported("a link without a target"))?;
            String::from_utf8(bytes.into_owned())
                .map_err(|_| unsupported("its link's target is not UTF-8"))
        };
        let device = || {
            let (major, minor) = (header.device_major(), header.device_minor());
            match (major, minor) {
                (Ok(Some(major)), Ok(Some(minor))) => Ok((major, minor)),
                _ => Err(unsupported("a device without numbers")),
            }
        };
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous => Kind::File {
                content: Content::Within {
                    file: self.file.clone(),
                    offset: entry.raw_file_position(),
                    length: entry.size(),
                },
                link: None,
            },
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink(target()?),
            EntryType::Link => return self.add_hard_link(path, &target()?),
            EntryType::Char => device().map(|(major, minor)| Kind::CharDevice(major, minor))?,
            EntryType::Block => device().map(|(major, minor)| Kind::BlockDevice(major, minor))?,
            EntryType::Fifo => Kind::Fifo,
            // Says something about the archive, nothing about a file.
            EntryType::XGlobalHeader => return Ok(()),
            other => {
                return Err(unsupported(&format!(
                    "an entry of the type {:?}, which an image cannot take; next: write the tar without sparse files",
                    char::from(other.as_byte())
                )));
            }
        };
        let entry = Entry {
            kind,
            mode: number(header.mode().map(u64::from))? & 0o7777,
            uid: number(header.uid())?,
            gid: number(header.gid())?,
            mtime: header
                .mtime()
                .map_err(|_| unsupported("its time is not a number"))?,
            xattrs,
        };
        self.tree.insert(path, entry)
    }

    /// One more name of an entry that is there. A link to a symbolic link (tar files have them) is a copy of it.
    fn add_hard_link(&mut self, path: &str, target: &str) -> Result<(), TreeError> {
        let place = self.tree.place_of(target)?;
        let next = self.tree.links;
        let first = self
            .tree
            .entries
            .get_mut(&place)
            .filter(|entry| !entry.is_directory())
            .ok_or_else(|| TreeError::Unsupported {
                tar: self.tar.into(),
                path: path.into(),
                what: format!("a hard link to {target:?}, which is not there before it"),
            })?;
        if let Kind::File { link, .. } = &mut first.kind {
            link.get_or_insert(next);
        }
        let copy = first.clone();
        self.tree.links += 1;
        self.tree.insert(path, copy)
    }
}
