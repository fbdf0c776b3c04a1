//! The archive the kernel unpacks: cpio "newc", zstd. Pure, and the same content always gives the same bytes.

use std::collections::BTreeMap;
use std::io::{self, Write};

/// The compression level: the slowest that every decoder accepts without an option.
const ZSTD_LEVEL: i32 = 19;

/// Files by path, sorted, so that every directory comes before its content.
#[derive(Debug, Default)]
pub struct Archive(BTreeMap<String, Entry>);

#[derive(Debug)]
enum Entry {
    Directory,
    File { executable: bool, content: Vec<u8> },
    CharacterDevice { major: u32, minor: u32 },
}

impl Archive {
    /// Adds a directory and those above it. Paths are relative to the root.
    pub fn directory(&mut self, path: &str) {
        self.parents(path);
        self.0.insert(path.to_owned(), Entry::Directory);
    }

    /// Adds a file that can be read, and nothing more.
    pub fn file(&mut self, path: &str, content: Vec<u8>) {
        self.parents(path);
        self.0.insert(
            path.to_owned(),
            Entry::File {
                executable: false,
                content,
            },
        );
    }

    /// Adds a file that can be run.
    pub fn program(&mut self, path: &str, content: Vec<u8>) {
        self.parents(path);
        self.0.insert(
            path.to_owned(),
            Entry::File {
                executable: true,
                content,
            },
        );
    }

    /// Adds a character device.
    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.parents(path);
        self.0
            .insert(path.to_owned(), Entry::CharacterDevice { major, minor });
    }

    fn parents(&mut self, path: &str) {
        for (slash, _) in path.match_indices('/') {
            self.0
                .entry(path[..slash].to_owned())
                .or_insert(Entry::Directory);
        }
    }

    /// The archive, not yet compressed.
    pub fn to_cpio(&self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        for ((path, entry), inode) in self.0.iter().zip(1..) {
            let header = cpio::newc::Builder::new(path)
                .ino(inode)
                .uid(0)
                .gid(0)
                .mtime(0);
            let (header, content) = match entry {
                Entry::Directory => (header.mode(0o040_755).nlink(2), &[][..]),
                Entry::File {
                    executable: true,
                    content,
                } => (header.mode(0o100_755).nlink(1), content.as_slice()),
                Entry::File {
                    executable: false,
                    content,
                } => (header.mode(0o100_644).nlink(1), content.as_slice()),
                Entry::CharacterDevice { major, minor } => (
                    header
                        .mode(0o020_600)
                        .nlink(1)
                        .rdev_major(*major)
                        .rdev_minor(*minor),
                    &[][..],
                ),
            };
            let length = u32::try_from(content.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
            let mut writer = header.write(&mut out, length);
            writer.write_all(content)?;
            writer.finish()?;
        }
        cpio::newc::trailer(&mut out)?;
        Ok(out)
    }
}

/// Compresses an archive for the kernel.
pub fn compress(cpio: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(cpio, ZSTD_LEVEL)
}
