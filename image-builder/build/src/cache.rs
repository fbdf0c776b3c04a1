//! What takes long is made once: a root file system under a name made of everything that went into it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What went into a cached root file system, by name.
#[derive(Clone, Debug)]
pub struct Key {
    kind: String,
    inputs: BTreeMap<String, String>,
}

/// What is known of a cached root file system. It lies beside the tar file, for people and for the build record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct About {
    /// What went into it.
    pub inputs: BTreeMap<String, String>,
    /// Its source date, seconds since 1970.
    pub source_date: u64,
    /// Digest of the tar file.
    pub sha256: String,
}

/// A root file system in the cache.
#[derive(Clone, Debug)]
pub struct Cached {
    /// The tar file.
    pub tar: PathBuf,
    /// What is known of it.
    pub about: About,
}

/// A folder of root file systems.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// The right to make one root file system. Others wait for it.
#[derive(Debug)]
pub struct Slot {
    folder: PathBuf,
    stem: String,
    _lock: File,
}

/// The cache cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct CacheError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    move |source| CacheError {
        action,
        path: path.to_owned(),
        source,
    }
}

impl Key {
    /// Nothing yet, of a kind that starts the file's name.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            inputs: BTreeMap::new(),
        }
    }

    /// One more thing that goes in.
    pub fn add(&mut self, what: &str, value: impl Into<String>) {
        self.inputs.insert(what.to_owned(), value.into());
    }

    /// All that goes in.
    #[must_use]
    pub fn inputs(&self) -> &BTreeMap<String, String> {
        &self.inputs
    }

    /// The name of its files, without their endings.
    #[must_use]
    pub fn stem(&self) -> String {
        let mut hasher = Sha256::new();
        for (what, value) in &self.inputs {
            for text in [what, value] {
                hasher.update((text.len() as u64).to_le_bytes());
                hasher.update(text);
            }
        }
        let mut digest = hex::encode(hasher.finalize());
        digest.truncate(12);
        format!("{}-{digest}", self.kind)
    }
}

impl Cache {
    /// The cache in this folder, which is made if need be.
    pub fn open(folder: &Path) -> Result<Self, CacheError> {
        fs::create_dir_all(folder).map_err(failed("make the cache's folder", folder))?;
        let folder = folder
            .canonicalize()
            .map_err(failed("find the cache's folder", folder))?;
        Ok(Self { folder })
    }

    /// A folder in the cache that is made if need be.
    pub fn subfolder(&self, name: &str) -> Result<PathBuf, CacheError> {
        let path = self.folder.join(name);
        fs::create_dir_all(&path).map_err(failed("make the folder", &path))?;
        Ok(path)
    }

    /// Waits until nobody else makes this root file system, and gives the right to make it.
    pub fn lock(&self, key: &Key) -> Result<Slot, CacheError> {
        let stem = key.stem();
        let path = self.folder.join(format!("{stem}.lock"));
        let lock = File::create(&path).map_err(failed("make the lock", &path))?;
        lock.lock().map_err(failed("lock", &path))?;
        Ok(Slot {
            folder: self.folder.clone(),
            stem,
            _lock: lock,
        })
    }
}

impl Slot {
    /// The file of this ending.
    #[must_use]
    pub fn file(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.stem))
    }

    /// The root file system, if it was made before.
    #[must_use]
    pub fn existing(&self) -> Option<Cached> {
        let tar = self.file("tar");
        let about = fs::read(self.file("json")).ok()?;
        let about = serde_json::from_slice(&about).ok()?;
        tar.exists().then_some(Cached { tar, about })
    }

    /// Where the tar file is made. It gets its name once it is complete.
    #[must_use]
    pub fn unfinished(&self) -> PathBuf {
        self.file("tar.part")
    }

    /// Gives the tar file its name, and says what went into it.
    pub fn finish(&self, key: &Key, source_date: u64) -> Result<Cached, CacheError> {
        let (part, tar, json) = (self.unfinished(), self.file("tar"), self.file("json"));
        let sha256 = sha256_of(&part)?;
        let about = About {
            inputs: key.inputs.clone(),
            source_date,
            sha256,
        };
        let text = serde_json::to_vec_pretty(&about)
            .map_err(|error| failed("write", &json)(error.into()))?;
        fs::write(&json, text).map_err(failed("write", &json))?;
        File::open(&part)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&part, &tar))
            .map_err(failed("finish", &tar))?;
        Ok(Cached { tar, about })
    }
}

/// The SHA-256 of a file, in hex digits.
pub fn sha256_of(path: &Path) -> Result<String, CacheError> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut file = File::open(path).map_err(failed("read", path))?;
    loop {
        let length = file.read(&mut buffer).map_err(failed("read", path))?;
        if length == 0 {
            return Ok(hex::encode(hasher.finalize()));
        }
        hasher.update(&buffer[..length]);
    }
}
