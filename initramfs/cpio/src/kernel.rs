//! A kernel directory: `version` and `modules/`, the tree of `/lib/modules/VERSION` with depmod's tables in it.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::modules::ModuleIndex;

/// A kernel whose modules can be packed.
#[derive(Debug)]
pub struct Kernel {
    /// The release, as `uname -r` says it.
    pub version: String,
    /// What it says about its modules.
    pub index: ModuleIndex,
    modules: PathBuf,
}

impl Kernel {
    /// Reads the tables of the kernel in this directory.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let modules = directory.join("modules");
        let read = |path: PathBuf| {
            fs::read_to_string(&path).map_err(|source| Error::Kernel { path, source })
        };
        let version = read(directory.join("version"))?.trim().to_owned();
        let index = ModuleIndex::parse(
            &read(modules.join("modules.dep"))?,
            &read(modules.join("modules.builtin"))?,
            &read(modules.join("modules.softdep"))?,
        )?;
        Ok(Self {
            version,
            index,
            modules,
        })
    }

    /// The content of a module's file, ready for the kernel: not compressed, and the path it then has.
    pub fn module(&self, path: &str) -> Result<(String, Vec<u8>), Error> {
        let file = self.modules.join(path);
        let stored = fs::read(&file).map_err(|source| Error::Kernel {
            path: file.clone(),
            source,
        })?;
        let (plain_path, content) = match path.rsplit_once('.') {
            Some((plain, "xz")) => (
                plain,
                unpack(lzma_rust2::XzReader::new(stored.as_slice(), true)),
            ),
            Some((plain, "zst")) => (plain, zstd::stream::decode_all(stored.as_slice())),
            Some((_, "ko")) => (path, Ok(stored)),
            _ => return Err(Error::Compression { path: file }),
        };
        let content = content.map_err(|source| Error::Decompress { path: file, source })?;
        Ok((plain_path.to_owned(), content))
    }
}

fn unpack(mut reader: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    reader.read_to_end(&mut content)?;
    Ok(content)
}
