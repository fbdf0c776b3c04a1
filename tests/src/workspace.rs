//! Where the harness finds the checkout and keeps what it makes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).to_path_buf()
}

/// The build directory.
#[must_use]
pub fn target() -> PathBuf {
    root().join("target")
}

/// A directory under `target/virtual` for what the harness makes.
pub fn directory(name: &str) -> Result<PathBuf> {
    let path = target().join("virtual").join(name);
    fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
    Ok(path)
}

/// An empty directory for one test. It stays until the test runs again, so that its logs can be read.
pub fn fresh(name: &str) -> Result<PathBuf> {
    let path = directory("run")?.join(name);
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("clearing {}", path.display()));
        }
        _ => {}
    }
    fs::create_dir(&path).with_context(|| format!("creating {}", path.display()))?;
    Ok(path)
}

/// Holds a named lock among all processes of the harness until dropped: artefacts are built by one, used by all.
pub fn lock(name: &str) -> Result<File> {
    let path = directory("locks")?.join(name);
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    file.lock()
        .with_context(|| format!("locking {}", path.display()))?;
    Ok(file)
}

/// Builds an artefact once: `build` fills a fresh directory, which then takes its place under the given key. A second
/// call with the same key, from any process, returns at once.
pub fn cached(name: &str, key: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let parent = directory("cache")?;
    let place = parent.join(format!("{name}-{key}"));
    if place.exists() {
        return Ok(place);
    }
    let _lock = lock(name)?;
    if place.exists() {
        return Ok(place);
    }
    let work = tempfile::Builder::new()
        .prefix(&format!(".{name}-"))
        .tempdir_in(&parent)?;
    build(work.path()).with_context(|| format!("building {name}"))?;
    // The newest is the only one in use: the others are left over from earlier inputs.
    for entry in fs::read_dir(&parent)?.flatten() {
        let stem = entry.file_name().to_string_lossy().into_owned();
        if stem
            .strip_prefix(&format!("{name}-"))
            .is_some_and(|rest| rest.len() == key.len())
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    fs::rename(work.path(), &place)?;
    Ok(place)
}

/// A short key over the contents of files and over words, to name a cached artefact by its inputs.
pub fn key(files: &[&Path], words: &[&str]) -> Result<String> {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for file in files {
        let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(&bytes);
    }
    for word in words {
        hash.update((word.len() as u64).to_le_bytes());
        hash.update(word.as_bytes());
    }
    Ok(hex::encode(&hash.finalize()[..6]))
}
