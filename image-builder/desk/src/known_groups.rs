//! A cache of the groups, because they are needed for every question: it looks at the files each time, and reads them only when they have
//! changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::metadata::Groups;

/// A file that changed less than this many seconds before it was read may change again within the same tick of its time stamp. Then the
/// stamp would not show it.
const UNSETTLED: i64 = 2;

/// What was read last.
#[derive(Default)]
pub struct KnownGroups(Mutex<Option<Known>>);

struct Known {
    files: Vec<(PathBuf, Option<Stamp>)>,
    groups: Arc<Groups>,
}

/// What is different once a file has changed. No program can set the time of its last change (ctime).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    length: u64,
    changed: (i64, i64),
}

impl KnownGroups {
    /// The groups of this directory.
    pub fn read(&self, directory: &Path) -> Arc<Groups> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let paths = Groups::files(directory);
        // The stamps are taken before the files are read. A file that changes in between has another stamp the next time.
        let files: Vec<_> = paths
            .iter()
            .map(|path| (path.clone(), Stamp::of(path)))
            .collect();
        if let Some(known) = &*known
            && known.files == files
        {
            return Arc::clone(&known.groups);
        }
        let groups = Arc::new(Groups::of(&paths));
        let settled = now() - UNSETTLED;
        let is_settled = |stamp: &Stamp| stamp.changed.0 < settled;
        let are_settled = files
            .iter()
            .all(|(_, stamp)| stamp.as_ref().is_none_or(is_settled));
        *known = are_settled.then(|| Known {
            files,
            groups: Arc::clone(&groups),
        });
        groups
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let about = fs::metadata(path).ok()?;
        Some(Self {
            file: (about.dev(), about.ino()),
            length: about.len(),
            changed: (about.ctime(), about.ctime_nsec()),
        })
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;
    use std::time::Duration;

    use gild_boards::mac::Mac;

    use super::*;
    use crate::orders::name;

    const MAC: Mac = Mac([0xd8, 0x3a, 0xdd, 1, 2, 3]);

    #[test]
    fn files_are_read_when_they_have_changed_and_only_then() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("groups/a.json");
        fs::create_dir(path.parent().expect("a folder")).expect("a folder");
        let write = |name: &str| {
            let text = format!(
                r#"{{"selector": {{"mac": "{MAC}"}}, "metadata": {{"hostname": "{name}"}}}}"#
            );
            fs::write(&path, text).expect("written");
        };
        let known = KnownGroups::default();
        let named = || name(&known.read(folder.path()), MAC);
        assert_eq!(named(), None);
        // The files are written in quick succession with the same length, so their stamps may be equal.
        for one in ["node-1", "node-2", "node-3"] {
            write(one);
            assert_eq!(named().as_deref(), Some(one));
        }
        sleep(Duration::from_secs(UNSETTLED.unsigned_abs() + 2));
        let first = known.read(folder.path());
        let again = known.read(folder.path());
        assert!(Arc::ptr_eq(&first, &again), "it was read again");
        write("node-4");
        assert_eq!(named().as_deref(), Some("node-4"));
        fs::remove_file(&path).expect("removed");
        assert_eq!(named(), None);
        assert!(folder.path().join("groups").exists());
    }
}
