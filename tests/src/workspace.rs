//! Where the harness finds the checkout and keeps what it makes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

/// The root of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).to_path_buf()
}

/// The folders of the project's crates. Each may use itself and those before it.
pub const FLOORS: [&str; 5] = ["boards", "agent", "initramfs", "image-builder", "tests"];

/// All Rust files of the project.
pub fn sources() -> Result<Vec<PathBuf>> {
    let root = root().canonicalize()?;
    let mut files = Vec::new();
    for floor in FLOORS {
        rust_files(&root.join(floor), &mut files)?;
    }
    files.sort();
    Ok(files)
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            rust_files(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
    Ok(())
}

/// The folder of the crate that a file belongs to.
#[must_use]
pub fn crate_of(file: &Path) -> Option<&Path> {
    file.ancestors()
        .find(|folder| folder.join("Cargo.toml").exists())
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

/// Holds a named lock among all processes of the harness until it is dropped. So one process builds an artefact, and all use it.
pub fn lock(name: &str) -> Result<File> {
    let path = directory("locks")?.join(name);
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    file.lock()
        .with_context(|| format!("locking {}", path.display()))?;
    Ok(file)
}

/// Locks of the artefacts that this process uses, until it ends.
static IN_USE: Mutex<BTreeMap<PathBuf, File>> = Mutex::new(BTreeMap::new());

fn use_lock(artefact: &str) -> Result<File> {
    let path = directory("locks")?.join(format!("{artefact}.used"));
    File::create(&path).with_context(|| format!("creating {}", path.display()))
}

/// Builds an artefact once. `build` fills a new directory, which is then stored under the given key. If any process has already built it
/// under the same key, the call returns at once. The artefact stays as long as this process runs.
pub fn cached(name: &str, key: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let parent = directory("cache")?;
    let place = parent.join(format!("{name}-{key}"));
    let used = use_lock(&format!("{name}-{key}"))?;
    used.lock_shared().context("locking an artefact")?;
    let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    in_use.insert(place.clone(), used);
    drop(in_use);
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
    // The files of earlier inputs are deleted, unless another process still uses them: a demo that runs beside the tests has other inputs.
    for entry in fs::read_dir(&parent)?.flatten() {
        let stem = entry.file_name().to_string_lossy().into_owned();
        if stem
            .strip_prefix(&format!("{name}-"))
            .is_some_and(|rest| rest.len() == key.len())
        {
            let used = use_lock(&stem)?;
            if stem != format!("{name}-{key}") && used.try_lock().is_ok() {
                let _ = fs::remove_dir_all(entry.path());
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artefact_stays_while_it_is_used() {
        let name = format!("artefact-{}", std::process::id());
        let make = |key: &str| {
            let build = |work: &Path| Ok(fs::write(work.join("made"), key)?);
            cached(&name, key, build).expect("a new folder")
        };
        let (old, unused) = (make("1"), make("2"));
        // As if another process had used it and ended.
        IN_USE.lock().expect("this test's own").remove(&unused);
        let new = make("3");
        assert!(old.exists() && !unused.exists() && new.exists());
        for place in [old, new] {
            fs::remove_dir_all(place).expect("this test's own");
        }
    }
}
