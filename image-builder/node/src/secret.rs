//! This node's own secret. The desk knows the node by it, whatever happens to the token. It is made once and only root can read it. It lies
//! on the disk, so after a flash the node makes another one.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use gild_report::Proof;
use log::warn;

use crate::files;

const SECRET: &str = "var/lib/gild/desk-secret";

/// Why there is no secret. Without one the desk does not know this node again.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file exists but cannot be read.
    #[error(
        "this node cannot read /{SECRET}, so it shows the desk nothing to be known by: {0}; next: look at its disk"
    )]
    Read(io::Error),
    /// The secret cannot be stored. It would be useless, because it would be gone at the next start.
    #[error(
        "this node cannot write /{SECRET}, so it shows the desk nothing to be known by: {0}; next: make room on its disk, or look why \
         it is read-only"
    )]
    Write(io::Error),
    /// The kernel gives no random numbers.
    #[error(
        "this node has no random numbers, so it shows the desk nothing to be known by: {0}; next: restart it"
    )]
    Random(getrandom::Error),
}

/// The proof that this node shows the desk. The first call makes the secret, and stores it on the disk before anybody sees it.
pub fn proof(root: &Path) -> Result<Proof, SecretError> {
    let path = root.join(SECRET);
    match read(&path)? {
        Found::Proof(proof) => Ok(proof),
        Found::Nothing | Found::Damaged => make(&path),
    }
}

/// Makes a secret unless another program has just made one: programs that run at the same time must show the same one.
fn make(path: &Path) -> Result<Proof, SecretError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    files::private_directory(folder).map_err(SecretError::Write)?;
    let folder = File::open(folder).map_err(SecretError::Write)?;
    folder.lock().map_err(SecretError::Write)?;
    match read(path)? {
        Found::Proof(proof) => return Ok(proof),
        Found::Damaged => warn!(
            "/{SECRET} is damaged, so this node makes another secret, which the desk takes only through an open door"
        ),
        Found::Nothing => (),
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(SecretError::Random)?;
    let proof = Proof::of(secret);
    files::write_private(path, &format!("{}\n", proof.reveal())).map_err(SecretError::Write)?;
    Ok(proof)
}

enum Found {
    Proof(Proof),
    Damaged,
    Nothing,
}

fn read(path: &Path) -> Result<Found, SecretError> {
    match fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            Ok(Proof::parse(&text).map_or(Found::Damaged, Found::Proof))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(SecretError::Read(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_for_root_alone() {
        let root = tempfile::tempdir().expect("a directory");
        let first = proof(root.path()).expect("a secret");
        assert_eq!(proof(root.path()).expect("the same"), first);
        let mode = |path: &str| {
            let metadata = fs::metadata(root.path().join(path)).expect("its mode");
            metadata.permissions().mode() & 0o7777
        };
        assert_eq!((mode(SECRET), mode("var/lib/gild")), (0o600, 0o700));
        let other = tempfile::tempdir().expect("a directory");
        assert_ne!(proof(other.path()).expect("another node's"), first);
    }

    #[test]
    fn programs_that_make_it_at_once_show_the_same_one() {
        for _ in 0..20 {
            let root = tempfile::tempdir().expect("a directory");
            let start = Barrier::new(8);
            let shown: BTreeSet<String> = thread::scope(|scope| {
                let programs: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| {
                            start.wait();
                            proof(root.path()).expect("a secret").reveal().to_owned()
                        })
                    })
                    .collect();
                let ends = programs.into_iter().map(|it| it.join().expect("an end"));
                ends.collect()
            });
            let kept = proof(root.path()).expect("a secret").reveal().to_owned();
            assert_eq!(shown, BTreeSet::from([kept]));
        }
    }

    /// A power cut leaves the new file without its name.
    #[test]
    fn what_a_power_cut_or_a_damaged_disk_left_is_replaced() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join(SECRET);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path.with_extension("new"), "half of a").expect("a cut attempt");
        let first = proof(root.path()).expect("a secret");
        for damaged in [&b""[..], b"ab", &[0xff; 64]] {
            fs::write(&path, damaged).expect("damage");
            let next = proof(root.path()).expect("another");
            assert_ne!(next, first);
            assert_eq!(proof(root.path()).expect("the same"), next);
        }
    }

    #[test]
    fn a_secret_that_cannot_be_kept_or_read_is_none_and_says_why() {
        let root = tempfile::tempdir().expect("a directory");
        let new = root.path().join(SECRET).with_extension("new");
        fs::create_dir_all(new).expect("something in the way");
        let error = proof(root.path()).expect_err("no file").to_string();
        assert!(
            error.contains("cannot write /var/lib/gild/desk-secret"),
            "{error}"
        );
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join(SECRET)).expect("a folder in its place");
        let error = proof(root.path()).expect_err("not a file").to_string();
        assert!(
            error.contains("cannot read /var/lib/gild/desk-secret"),
            "{error}"
        );
        assert!(error.contains("; next: "), "{error}");
    }
}
