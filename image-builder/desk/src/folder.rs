//! The folder of a desk: what lies where.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use gild_report::ReportKey;
use sha2::{Digest, Sha256};

use crate::regular_file;

/// Names in the folder of a desk.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// A file of the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is no folder.
    #[error("{0} is not a folder; next: make one: gild init {0}, or give the one that it made")]
    Missing(PathBuf),
    /// It is another one.
    #[error("{0} is not the folder of a desk; next: give the folder that `gild init` made")]
    NotADesk(PathBuf),
    /// The file is not there, or not readable.
    #[error("cannot read {path}: {error}; next: {}", next_step(error))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is not what it should be.
    #[error(
        "{0} is not a key: it should be 64 hex digits; next: take the file that `gild init` made"
    )]
    NotAKey(PathBuf),
}

impl Folder {
    /// Opens the folder that `gild init` made: looks whether it is there, and may be looked into.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let folder = Self::new(path);
        let settings = folder.settings();
        match fs::metadata(&settings) {
            Ok(_) => Ok(folder),
            Err(error) if is_missing(&error) => Err(if path.is_dir() {
                FolderError::NotADesk(folder.0)
            } else {
                FolderError::Missing(folder.0)
            }),
            Err(error) => Err(FolderError::Read {
                path: settings,
                error,
            }),
        }
    }

    /// This folder.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Itself: Matchbox's data directory, with `groups/` in it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Matchbox's group files.
    #[must_use]
    pub fn groups(&self) -> PathBuf {
        self.0.join("groups")
    }

    /// The published images, which nodes get as their `server`.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    /// How boards reach this machine.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.0.join("desk.toml")
    }

    /// The configuration of the cards.
    #[must_use]
    pub fn card_configuration(&self) -> PathBuf {
        self.0.join("gild.toml")
    }

    /// The key that signs images, without its ending.
    #[must_use]
    pub fn site_key(&self) -> PathBuf {
        self.0.join("site")
    }

    /// The key that signs only orders, without its ending. If it is missing, the key that signs images signs orders too.
    #[must_use]
    pub fn order_key(&self) -> PathBuf {
        self.0.join("order")
    }

    /// Drafts of orders, and signed ones.
    #[must_use]
    pub fn orders(&self) -> PathBuf {
        self.0.join("orders")
    }

    /// What every group of this site has: the cluster and its token.
    #[must_use]
    pub fn cluster(&self) -> PathBuf {
        self.0.join("cluster.json")
    }

    /// The ssh public keys that may log in to every node, including a node that the desk does not know.
    #[must_use]
    pub fn authorized_keys(&self) -> PathBuf {
        self.0.join("authorized_keys")
    }

    /// The key that cards sign their reports with.
    #[must_use]
    pub fn report_key(&self) -> PathBuf {
        self.0.join("report.key")
    }

    /// What the operator logs in to the page with.
    #[must_use]
    pub fn login(&self) -> PathBuf {
        self.0.join("login")
    }

    /// What happened so far. It has a folder of its own, so that the running desk needs to write to no folder that has keys and settings in
    /// it.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal").join("journal.jsonl")
    }

    /// The site's own authority, and the server's certificate by it.
    #[must_use]
    pub fn tls(&self) -> PathBuf {
        self.0.join("tls")
    }

    /// Reads the key that cards sign their reports with.
    pub fn read_report_key(&self) -> Result<ReportKey, FolderError> {
        let path = self.report_key();
        ReportKey::parse(&read(&path)?).map_err(|_| FolderError::NotAKey(path))
    }

    /// Reads what the operator logs in with.
    pub fn read_login(&self) -> Result<Login, FolderError> {
        let path = self.login();
        let text = read(&path)?;
        let text = text.trim();
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Login::of(text))
        } else {
            Err(FolderError::NotAKey(path))
        }
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// What to do where a file of a desk's folder cannot be read.
#[must_use]
pub fn next_step(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied => "run this as the user who owns the folder of the desk",
        _ => "make the folder with `gild init`, or give the one that it made",
    }
}

fn read(path: &Path) -> Result<String, FolderError> {
    regular_file::read_to_string(path).map_err(|error| FolderError::Read {
        path: path.to_owned(),
        error,
    })
}

/// Recognises the operator's login. It keeps only the login's digest, so that the time of a comparison reveals nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Login([u8; 32]);

impl Login {
    fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Whether this is the operator's login.
    #[must_use]
    pub fn is(&self, shown: &str) -> bool {
        *self == Self::of(shown.trim())
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a login")
    }
}
