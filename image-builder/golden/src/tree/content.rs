//! Where a file's bytes are.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::TreeError;

/// The bytes of a regular file, in memory or on the disk.
#[derive(Clone, Debug)]
pub enum Content {
    /// Held in memory.
    Bytes(Arc<[u8]>),
    /// A stretch of a larger file, such as a tar.
    Within {
        /// The larger file, open.
        file: Arc<File>,
        /// Where the bytes start in it.
        offset: u64,
        /// How many they are.
        length: u64,
    },
    /// A file of the host, as long as this when it was added.
    Host {
        /// Where it is.
        path: PathBuf,
        /// How many bytes it has.
        length: u64,
    },
}

impl Content {
    /// A file of the host.
    pub fn of_host_file(path: &Path) -> Result<Self, TreeError> {
        let metadata = path.metadata().map_err(|source| TreeError::Io {
            action: "read",
            path: path.into(),
            source,
        })?;
        Ok(Self::Host {
            path: path.into(),
            length: metadata.len(),
        })
    }

    /// How many bytes it has.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Within { length, .. } | Self::Host { length, .. } => *length,
        }
    }

    /// The bytes as a stream.
    pub fn open(&self) -> Result<Box<dyn Read + '_>, TreeError> {
        Ok(match self {
            Self::Bytes(bytes) => Box::new(&bytes[..]),
            Self::Within {
                file,
                offset,
                length,
            } => Box::new(Stretch {
                file,
                at: *offset,
                left: *length,
            }),
            Self::Host { path, length } => {
                let file = File::open(path).map_err(|source| TreeError::Io {
                    action: "read",
                    path: path.clone(),
                    source,
                })?;
                Box::new(file.take(*length))
            }
        })
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().into())
    }
}

/// Reads by offset, so that one open file serves many readers.
struct Stretch<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Stretch<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let got = self.file.read_at(&mut buffer[..want], self.at)?;
        self.at += got as u64;
        self.left -= got as u64;
        Ok(got)
    }
}
