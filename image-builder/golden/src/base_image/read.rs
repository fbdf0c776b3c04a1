//! An ext4 file system as a tree. The crate that reads it gives no extended attributes, no device numbers and does not
//! say which names are one file: capabilities of programs are lost, hard links become copies, device nodes are left out
//! (the kernel makes them at boot).

use std::fs::File;
use std::io::{BufWriter, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use ext4_view::{Ext4, PathBuf};

use super::BaseImageError;
use crate::tree::{Content, Entry, Kind, Tree};

/// Reads a file system, with its files' bytes in `spool`. Also gives its newest modification time.
pub fn tree(root: &Ext4, spool: File, image: &Path) -> Result<(Tree, u64), BaseImageError> {
    let mut reader = Reader {
        root,
        image,
        spool: BufWriter::new(spool),
        offset: 0,
        files: Vec::new(),
        tree: Tree::default(),
        newest: 0,
    };
    reader.directory(&PathBuf::new("/"), "")?;
    reader.finish()
}

struct Reader<'a> {
    root: &'a Ext4,
    image: &'a Path,
    spool: BufWriter<File>,
    offset: u64,
    /// Files whose bytes are in the spool.
    files: Vec<(String, Entry, u64, u64)>,
    tree: Tree,
    newest: u64,
}

impl Reader<'_> {
    fn directory(&mut self, path: &PathBuf, name: &str) -> Result<(), BaseImageError> {
        let metadata = self
            .root
            .symlink_metadata(path)
            .map_err(self.failed(name))?;
        let directory = self.entry(&metadata, Kind::Directory);
        self.tree.insert(name, directory)?;
        for entry in self.root.read_dir(path).map_err(self.failed(name))? {
            let entry = entry.map_err(self.failed(name))?;
            let file_name = entry.file_name();
            let child = file_name.as_str().map_err(self.failed(name))?;
            if child == "." || child == ".." || (name.is_empty() && child == "lost+found") {
                continue;
            }
            let child = match name {
                "" => child.to_owned(),
                _ => format!("{name}/{child}"),
            };
            self.entry_at(&entry.path(), child)?;
        }
        Ok(())
    }

    fn entry_at(&mut self, path: &PathBuf, name: String) -> Result<(), BaseImageError> {
        let metadata = self
            .root
            .symlink_metadata(path)
            .map_err(self.failed(&name))?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            return self.directory(path, &name);
        }
        if kind.is_symlink() {
            let target = self.root.read_link(path).map_err(self.failed(&name))?;
            let target = target.to_str().map_err(self.failed(&name))?.to_owned();
            let link = self.entry(&metadata, Kind::Symlink(target));
            self.tree.insert(&name, link)?;
        } else if kind.is_regular_file() {
            let start = self.offset;
            let mut file = self.root.open(path).map_err(self.failed(&name))?;
            let length = std::io::copy(&mut file as &mut dyn Read, &mut self.spool)
                .map_err(self.failed(&name))?;
            self.offset += length;
            let content = Content::from(Vec::new());
            let entry = self.entry(
                &metadata,
                Kind::File {
                    content,
                    link: None,
                },
            );
            self.files.push((name, entry, start, length));
        }
        Ok(())
    }

    fn entry(&mut self, metadata: &ext4_view::Metadata, kind: Kind) -> Entry {
        let mtime = u64::try_from(metadata.modified().seconds()).unwrap_or(0);
        self.newest = self.newest.max(mtime);
        Entry {
            mode: u32::from(metadata.mode()),
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime,
            ..Entry::of_root(kind, 0)
        }
    }

    fn failed<E: std::fmt::Display>(&self, name: &str) -> impl Fn(E) -> BaseImageError + use<E> {
        let (path, inside) = (self.image.to_owned(), format!("/{name}"));
        move |error| BaseImageError::FileSystem {
            path: path.clone(),
            inside: inside.clone(),
            problem: error.to_string(),
        }
    }

    /// Now that the spool is complete, the files can say where their bytes are.
    fn finish(mut self) -> Result<(Tree, u64), BaseImageError> {
        let failed = self.failed::<std::io::Error>("");
        self.spool.flush().map_err(&failed)?;
        let mut spool = self
            .spool
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        spool.rewind().map_err(&failed)?;
        let spool = Arc::new(spool);
        for (name, mut entry, offset, length) in self.files {
            entry.kind = Kind::File {
                content: Content::Within {
                    file: Arc::clone(&spool),
                    offset,
                    length,
                },
                link: None,
            };
            self.tree.insert(&name, entry)?;
        }
        Ok((self.tree, self.newest))
    }
}
