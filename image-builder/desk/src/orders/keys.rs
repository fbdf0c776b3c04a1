//! The keys whose orders count. The desk's cards and images have the same keys.

use std::io;
use std::path::PathBuf;

use gild_format::signature::{PublicKey, SignatureError};

use crate::folder::Folder;
use crate::regular_file;

/// The keys.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<PublicKey>);

/// A key of the folder cannot be used. Then no order counts.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It is not there, or not readable.
    #[error("cannot read {0}: {1}; next: put the public key there that orders are signed with")]
    Read(PathBuf, io::Error),
    /// It is not a key.
    #[error("{0} cannot be used: {1}; next: put the .pub file there that `gild key new` made")]
    Key(PathBuf, SignatureError),
}

impl Keys {
    /// The file of the public key that counts: an operator's `order.pub` if it is there, else the site's.
    pub fn path(folder: &Folder) -> Result<PathBuf, KeysError> {
        let own = folder.order_key().with_extension("pub");
        match own.symlink_metadata() {
            Ok(_) => Ok(own),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(folder.site_key().with_extension("pub"))
            }
            // If it is unclear whether the file exists, the site's key must not count in its place.
            Err(error) => Err(KeysError::Read(own, error)),
        }
    }

    /// Reads them.
    pub fn read(folder: &Folder) -> Result<Self, KeysError> {
        let path = Self::path(folder)?;
        let text = regular_file::read_to_string(&path)
            .map_err(|error| KeysError::Read(path.clone(), error))?;
        let key = PublicKey::parse(&text).map_err(|error| KeysError::Key(path, error))?;
        Ok(Self(vec![key]))
    }

    /// The keys, as a signature is checked with them.
    #[must_use]
    pub fn all(&self) -> Vec<&PublicKey> {
        self.0.iter().collect()
    }
}
