//! The packages that were fetched before. apt checks only a file's name and size, so each is kept under a name with
//! its digest, and is fetched again if the digest does not match.

use std::fs;
use std::path::{Path, PathBuf};

use super::{BaseError, failed};
use crate::cache::sha256_of;
use crate::progress::Progress;

const ENDING: &str = ".deb";

/// A folder of packages, each called `<name>.deb.<sha256>`.
pub struct Packages {
    pub folder: PathBuf,
}

impl Packages {
    /// Copies the packages that have not changed into a folder, and removes the others.
    pub fn bring(&self, to: &Path, progress: &dyn Progress) -> Result<(), BaseError> {
        let mut removed = 0;
        for path in super::mmdebstrap::files(&self.folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let kept = name
                .rsplit_once('.')
                .filter(|(name, _)| name.ends_with(ENDING));
            if let Some((name, digest)) = kept {
                // The copy is checked, because the file itself may still change.
                let copy = to.join(name);
                fs::copy(&path, &copy).map_err(failed(&path))?;
                if sha256_of(&copy)? == digest {
                    continue;
                }
                fs::remove_file(&copy).map_err(failed(&copy))?;
            }
            fs::remove_file(&path).map_err(failed(&path))?;
            removed += 1;
        }
        if removed > 0 {
            progress.note(&format!(
                "files in {} do not match their digests and are fetched again: {removed}",
                self.folder.display()
            ));
        }
        Ok(())
    }

    /// Takes over what a run of apt has left in a folder, which apt has checked.
    pub fn keep(&self, from: &Path) -> Result<(), BaseError> {
        for path in super::mmdebstrap::files(from)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // An unfinished download is in a separate folder.
            if path.parent() == Some(from) && name.ends_with(ENDING) {
                let kept = self.folder.join(format!("{name}.{}", sha256_of(&path)?));
                fs::rename(&path, &kept).map_err(failed(&kept))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

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

    #[test]
    fn only_packages_that_did_not_change_come_back() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = |name: &str| {
            let path = place.path().join(name);
            fs::create_dir_all(&path).expect("a folder");
            path
        };
        let names = |path: &Path| {
            let files = super::super::mmdebstrap::files(path).expect("a folder");
            let name = |path: &PathBuf| {
                path.file_name()
                    .map(|name| name.to_string_lossy().into_owned())
            };
            files.iter().filter_map(name).collect::<Vec<_>>()
        };
        let archives = folder("archives");
        folder("archives/partial");
        for name in [
            "a_1%3a2_arm64.deb",
            "b_1_all.deb",
            "lock",
            "partial/c_1_all.deb",
        ] {
            fs::write(archives.join(name), name).expect("a file");
        }
        let packages = Packages {
            folder: folder("packages"),
        };
        packages.keep(&archives).expect("packages");
        let kept = names(&packages.folder);
        assert_eq!(kept.len(), 2, "{kept:?}");

        let notes = Notes::default();
        packages.bring(&folder("whole"), &notes).expect("packages");
        assert_eq!(
            names(&folder("whole")),
            ["a_1%3a2_arm64.deb", "b_1_all.deb"]
        );
        assert_eq!(notes.0.take(), "");

        // As long as it was, and called as apt would call it.
        fs::write(packages.folder.join(&kept[1]), "B_1_all.deb").expect("a file");
        fs::write(packages.folder.join("d_1_all.deb"), "of another gild").expect("a file");
        packages
            .bring(&folder("damaged"), &notes)
            .expect("packages");
        assert_eq!(names(&folder("damaged")), ["a_1%3a2_arm64.deb"]);
        assert_eq!(names(&packages.folder), kept[..1]);
        assert!(notes.0.take().ends_with(": 2"));
    }
}
