//! Slow work is done once: a root file system gets a name made of all its inputs.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::progress::Progress;

/// How scratch folders begin. Others in the same place are mmdebstrap's, and it may have something mounted in them.
const SCRATCH: &str = "gild-";

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

/// A root file system in the cache. As long as it is used, no other gild replaces it.
#[derive(Clone, Debug)]
pub struct Cached {
    /// The tar file.
    pub tar: PathBuf,
    /// What is known of it.
    pub about: About,
    _lock: Arc<File>,
}

/// A folder of root file systems.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// The right to make one root file system and to use it. Others wait for it.
#[derive(Debug)]
pub struct Slot {
    folder: PathBuf,
    key: Key,
    lock: Arc<File>,
}

/// A folder for temporary files: nobody else may look into it, and it is removed afterwards, at the latest when another gild
/// needs one.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
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

    /// Adds an input.
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

    /// A scratch folder. The folders of killed gilds are removed.
    pub fn scratch(&self) -> Result<Scratch, CacheError> {
        let place = self.subfolder("tmp")?;
        // So that no gild thinks that a folder without its lock is abandoned.
        let gate = File::open(&place).map_err(failed("open", &place))?;
        gate.lock().map_err(failed("lock", &place))?;
        for entry in fs::read_dir(&place).map_err(failed("read", &place))? {
            let path = entry.map_err(failed("read", &place))?.path();
            let is_ours = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(SCRATCH));
            if is_ours && File::open(&path).is_ok_and(|folder| folder.try_lock().is_ok()) {
                fs::remove_dir_all(&path).map_err(failed("remove", &path))?;
            }
        }
        let folder = tempfile::Builder::new()
            .prefix(SCRATCH)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&place)
            .map_err(failed("make a folder in", &place))?;
        let lock = File::open(folder.path()).map_err(failed("open", folder.path()))?;
        lock.lock().map_err(failed("lock", folder.path()))?;
        Ok(Scratch {
            folder,
            _lock: lock,
        })
    }

    /// Waits until nobody else makes or uses this root file system, and gives the right to do so.
    pub fn lock(&self, key: &Key, progress: &dyn Progress) -> Result<Slot, CacheError> {
        let path = self.folder.join(format!("{}.lock", key.stem()));
        let lock = File::create(&path).map_err(failed("make the lock", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress.note("another gild makes or uses this base: waiting until it is done");
                lock.lock().map_err(failed("lock", &path))?;
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
        }
        Ok(Slot {
            folder: self.folder.clone(),
            key: key.clone(),
            lock: Arc::new(lock),
        })
    }
}

impl Scratch {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Slot {
    /// The file of this ending.
    #[must_use]
    pub fn file(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.key.stem()))
    }

    /// The root file system, if it was made before, from the same inputs, and has not changed since.
    #[must_use]
    pub fn existing(&self, progress: &dyn Progress) -> Option<Cached> {
        let tar = self.file("tar");
        let text = fs::read(self.file("json")).ok()?;
        match self.judge(&text, &tar) {
            Ok(about) => {
                progress.note(&format!("from the cache: {}", tar.display()));
                Some(self.cached(tar, about))
            }
            Err(reason) => {
                progress.note(&format!("{} is made again: {reason}", tar.display()));
                None
            }
        }
    }

    fn judge(&self, about: &[u8], tar: &Path) -> Result<About, String> {
        let about: About = serde_json::from_slice(about)
            .map_err(|error| format!("the file about it is damaged ({error})"))?;
        if about.inputs != self.key.inputs {
            return Err("it was made of other things than its name says".to_owned());
        }
        let digest = sha256_of(tar).map_err(|error| format!("{error} ({})", error.source))?;
        if digest != about.sha256 {
            return Err("it changed since it was made".to_owned());
        }
        Ok(about)
    }

    /// Where the tar file is made. It gets its name once it is complete.
    #[must_use]
    pub fn unfinished(&self) -> PathBuf {
        self.file("tar.part")
    }

    /// Gives the tar file its name, and says what went into it.
    pub fn finish(&self, source_date: u64) -> Result<Cached, CacheError> {
        let (part, tar, json) = (self.unfinished(), self.file("tar"), self.file("json"));
        let sha256 = sha256_of(&part)?;
        let about = About {
            inputs: self.key.inputs.clone(),
            source_date,
            sha256,
        };
        let text = serde_json::to_vec_pretty(&about)
            .map_err(|error| failed("write", &json)(error.into()))?;
        // After an interruption anywhere here, such a file describes only its own tar file.
        match fs::remove_file(&json) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &json)(error));
            }
            _ => {}
        }
        File::open(&part)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&part, &tar))
            .map_err(failed("finish", &tar))?;
        gild_whole_file::replace(&json, &text).map_err(failed("write", &json))?;
        Ok(self.cached(tar, about))
    }

    fn cached(&self, tar: PathBuf, about: About) -> Cached {
        Cached {
            tar,
            about,
            _lock: Arc::clone(&self.lock),
        }
    }
}

/// Whether a text can be a SHA-256 in hex digits.
#[must_use]
pub fn is_sha256(text: &str) -> bool {
    let text = text.trim();
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Notes(RefCell<String>);

    impl Progress for Notes {
        fn stage(&self, _: &str) {}
        fn note(&self, text: &str) {
            self.0.borrow_mut().push_str(text);
        }
        fn warn(&self, _: &str) {}
    }

    fn key(value: &str) -> Key {
        let mut key = Key::new("base");
        key.add("what", value);
        key
    }

    /// A cache in which a root file system was made.
    fn made() -> (TempDir, Slot) {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("a cache");
        let slot = cache.lock(&key("a"), &Notes::default()).expect("a slot");
        fs::write(slot.unfinished(), "root").expect("a file");
        slot.finish(1).expect("a root");
        (folder, slot)
    }

    fn why_not(slot: &Slot) -> String {
        let notes = Notes::default();
        assert!(slot.existing(&notes).is_none());
        notes.0.into_inner()
    }

    #[test]
    fn only_what_was_made_of_the_same_things_and_did_not_change_is_taken() {
        let (_folder, slot) = made();
        assert!(slot.existing(&Notes::default()).is_some());
        fs::write(slot.file("tar"), "Root").expect("a file");
        assert!(why_not(&slot).contains("it changed since"));

        let (_folder, slot) = made();
        let text = fs::read_to_string(slot.file("json")).expect("the file");
        let by_hand = text.replace("\"what\": \"a\"", "\"note\": \"made by hand\"");
        assert_ne!(text, by_hand);
        fs::write(slot.file("json"), by_hand).expect("a file");
        assert!(why_not(&slot).contains("made of other things"));

        fs::write(slot.file("json"), &text[..20]).expect("a file");
        assert!(why_not(&slot).contains("damaged"));
    }

    #[test]
    fn a_root_that_does_not_get_its_name_leaves_no_record_of_another() {
        let (_folder, slot) = made();
        fs::write(slot.unfinished(), "newer root").expect("a file");
        // Takes no file's name.
        fs::remove_file(slot.file("tar")).expect("the file");
        fs::create_dir(slot.file("tar")).expect("a folder");
        slot.finish(2).expect_err("a folder is in the way");
        assert!(!slot.file("json").exists());
    }

    #[test]
    fn a_root_that_is_used_is_not_made_again_and_who_waits_for_it_hears_so() {
        struct Sender(mpsc::Sender<String>);
        impl Progress for Sender {
            fn stage(&self, _: &str) {}
            fn note(&self, text: &str) {
                self.0.send(text.to_owned()).expect("somebody listens");
            }
            fn warn(&self, _: &str) {}
        }
        let (folder, slot) = made();
        let used = slot.existing(&Notes::default()).expect("the root");
        drop(slot);
        let cache = Cache::open(folder.path()).expect("a cache");
        let (send, notes) = mpsc::channel();
        let waiting = thread::spawn(move || cache.lock(&key("a"), &Sender(send)).map(drop));
        // Long enough for any machine: without the note it would wait forever.
        let text = notes
            .recv_timeout(Duration::from_mins(1))
            .expect("a note before it waits");
        assert!(text.contains("another gild"), "{text}");
        assert!(!waiting.is_finished());
        drop(used);
        waiting.join().expect("no panic").expect("the slot");
    }

    #[test]
    fn scratch_folders_are_private_and_those_in_use_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("a cache");
        let used = cache.scratch().expect("a folder");
        let mode = fs::metadata(used.path()).expect("a folder").permissions();
        assert_eq!(mode.mode() & 0o777, 0o700);
        let abandoned = folder.path().join("tmp/gild-abandoned");
        let of_mmdebstrap = folder.path().join("tmp/mmdebstrap.abandoned");
        for path in [&abandoned, &of_mmdebstrap] {
            fs::create_dir(path).expect("a folder");
        }
        let other = cache.scratch().expect("a folder");
        assert!(used.path().exists() && other.path().exists() && of_mmdebstrap.exists());
        assert!(!abandoned.exists());
    }
}
