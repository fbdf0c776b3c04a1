//! Where stored chunks come from.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use gild_faults::{Fault, HasFault};

/// A file that can be read at any place by several threads at once.
pub trait Source: Send + Sync {
    /// Size in bytes.
    fn size(&self) -> u64;
    /// Fills the buffer from the given offset. Retries that make sense have been made when it fails.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), SourceError>;
    /// The data that was read last is wrong: a caller with another source reads from that.
    fn distrust(&self) {}
}

/// A read failed, and a retry does not help.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// What it means for the node.
    pub fault: Fault,
    /// What was being read, and what came instead.
    pub message: String,
}

impl HasFault for SourceError {
    fn fault(&self) -> Fault {
        self.fault
    }
}

/// A local file as source: a mounted share, or a test.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    name: String,
    size: u64,
}

impl FileSource {
    /// Opens the file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            file,
            name: path.display().to_string(),
            size,
        })
    }
}

impl Source for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), SourceError> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|error| SourceError {
                fault: if error.kind() == io::ErrorKind::UnexpectedEof {
                    Fault::ImageCorrupt
                } else {
                    Fault::ServerUnreachable
                },
                message: format!(
                    "reading {} bytes at {offset} of {}: {error}",
                    buffer.len(),
                    self.name
                ),
            })
    }
}
