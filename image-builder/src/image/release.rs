//! The files of a golden image in their folder, and how they get there: complete, or not at all.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use gild_format::manifest::{MAX_MANIFEST_BYTES, STORED_SUFFIX};
use gild_format::release::{self, GOLDEN, signature_of};
pub use gild_format::release::{ABOUT, PACKAGES};
use gild_format::signature::{self, MAX_SIGNATURE_BYTES, PublicKey, SignatureError};
use gild_format::{ImageId, Manifest, chunk};
use gild_orders::Channel;
use gild_whole_file::{Finished, Unnamed};
use nix::sys::statfs::{FUSE_SUPER_MAGIC, FsType, NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, fstatfs};

use super::bmap;
use crate::input::must_exist;
use crate::published::Place;

/// Where a published image is.
const FOLDER: &str = "give the folder that `gild image build`, `pack` or `publish` wrote";
/// What helps a set that lacks a file.
pub const PUBLISH_AGAIN: &str = "build or publish the image again";

const TEMPORARY_PREFIX: &str = ".gild-";

/// If a lock may not work, a temporary file that has not been written to for this long belongs to a gild that was killed.
const ABANDONED: Duration = Duration::from_hours(1);

/// The file names of one golden image.
pub struct Names {
    /// The stored image.
    pub stored: String,
    /// The manifest.
    pub manifest: String,
    /// For `bmaptool`.
    pub bmap: String,
    /// For `sha256sum -c`.
    pub sums: String,
}

impl Names {
    /// The names of this image.
    pub fn of(image_id: &str) -> Self {
        Self {
            stored: format!("{image_id}{STORED_SUFFIX}"),
            manifest: format!("{image_id}.json"),
            bmap: format!("{image_id}.bmap"),
            sums: format!("{image_id}.sha256"),
        }
    }
}

/// The channel whose manifest has this file name.
pub fn channel_of(name: &str) -> Option<Channel> {
    Channel::parse(release::channel_of(name)?)
}

/// Refuses an id whose files would have the names of other files.
pub fn check_id(id: &ImageId) -> Result<()> {
    ensure!(
        release::may_name_an_image(id),
        "{id} is not an id for an image, because its files would have the names of others; next: give another --id"
    );
    Ok(())
}

/// A manifest file and its signature file, byte for byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed {
    /// The manifest's bytes: what is signed and what the commit record's digest is of.
    pub manifest: Vec<u8>,
    /// The text of the minisign file.
    pub signature: String,
}

impl Signed {
    /// Reads the manifest of this name and its signature.
    pub fn read(place: &Place, name: &str) -> Result<Self> {
        // In this order: where neither is, the one that was asked for is named.
        let manifest = place.read(name, MAX_MANIFEST_BYTES)?;
        let signature = place.read(&signature_of(name), MAX_SIGNATURE_BYTES)?;
        Ok(Self {
            manifest,
            signature: String::from_utf8(signature)
                .with_context(|| format!("{} is not text", signature_of(name)))?,
        })
    }

    /// Checks the signature, then the manifest in itself.
    pub fn check(&self, key: Option<&PublicKey>) -> Result<Manifest> {
        if let Some(key) = key {
            signature::verify(key, &self.manifest, &self.signature).map_err(explain_signature)?;
        }
        Ok(Manifest::parse(&self.manifest)?)
    }
}

/// What the operator can do about a signature by another key.
pub fn explain_signature(error: SignatureError) -> anyhow::Error {
    let next_step = match error {
        SignatureError::Malformed(_) => {
            "; next: build or publish the image again, which writes the .minisig file beside the manifest"
        }
        SignatureError::OtherKey(_) => {
            "; next: give the .pub of the key that signed the image, or build the image again with that key's .key"
        }
        _ => "",
    };
    let said = format!("{error}{next_step}");
    anyhow::Error::new(error).context(said)
}

/// The files for other tools, which follow from the manifest: name and text.
pub fn companions(manifest: &Manifest, manifest_bytes: &[u8]) -> [(String, String); 2] {
    let names = Names::of(&manifest.image_id);
    let bmap = bmap::of(manifest);
    let sums = format!(
        "{}  {}\n{}  {}\n{}  {}\n",
        manifest.stored_sha256,
        names.stored,
        chunk::sha256(manifest_bytes),
        names.manifest,
        chunk::sha256(bmap.as_bytes()),
        names.bmap,
    );
    [(names.bmap, bmap), (names.sums, sums)]
}

/// The folders of golden images in `path`: itself, or the boards' folders in it.
pub fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    must_exist(path, "the folder", FOLDER)?;
    let boards = gild_boards::all()
        .iter()
        .map(|board| path.join(&board.name));
    let mut folders = Vec::new();
    for folder in [path.to_owned()].into_iter().chain(boards) {
        let manifest = folder.join(GOLDEN);
        match manifest.symlink_metadata() {
            Ok(_) => folders.push(folder),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot look at {}", manifest.display()));
            }
        }
    }
    ensure!(
        !folders.is_empty(),
        "no {GOLDEN} in {}, nor in a board's folder in it; next: {FOLDER}",
        path.display()
    );
    Ok(folders)
}

/// What to give instead if this folder was given as a manifest: the manifests in it.
pub fn manifests_in(path: &Path) -> String {
    let found = folders(path).unwrap_or_else(|_| vec![path.join("<board>")]);
    let manifests = found
        .iter()
        .map(|folder| folder.join(GOLDEN).display().to_string());
    let manifests: Vec<String> = manifests.collect();
    format!("give the manifest in it: {}", manifests.join(" or "))
}

/// Makes a folder and those above it that are missing. Everybody may read what is made here, whatever the umask says.
fn make_open(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_open(above)?;
    }
    match fs::create_dir(path) {
        Ok(()) => {
            let_read(&File::open(path)?, 0o005, 0o755, path);
            Ok(())
        }
        // Another gild was quicker.
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Adds this mode to a file or folder that lacks some of it, and warns of a share that refuses: it may know
/// no modes, and still let nodes read.
fn let_read(file: &File, needed: u32, mode: u32, place: &Path) {
    if let Err(error) = open_to(file, needed, mode) {
        log::warn!(
            "others may not be able to read what is written to {}, so nodes may not either (fault 3): its mode cannot be set \
             ({error}); next: look whether a node can read it, else chmod a+rX it on the server",
            place.display()
        );
    }
}

fn open_to(file: &File, needed: u32, mode: u32) -> io::Result<()> {
    let present = file.metadata()?.permissions().mode();
    if present & needed == needed {
        return Ok(());
    }
    file.set_permissions(Permissions::from_mode(present | mode))
}

/// Whether a lock shuts out all other writers: some network file systems keep locks to the machine.
fn is_of_this_machine(folder: &File) -> bool {
    // nix lacks these: CIFS, SMB2 and 9P.
    const CIFS: FsType = FsType(0xff53_4d42);
    const SMB2: FsType = FsType(0xfe53_4d42);
    const PLAN_9: FsType = FsType(0x0102_1997);
    let network = [
        NFS_SUPER_MAGIC,
        SMB_SUPER_MAGIC,
        CIFS,
        SMB2,
        FUSE_SUPER_MAGIC,
        PLAN_9,
    ];
    fstatfs(folder).is_ok_and(|about| !network.contains(&about.filesystem_type()))
}

/// A file that a gild is writing, or has left behind.
pub struct Unfinished {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub length: u64,
    age: Duration,
}

/// The files of a folder that have no name for readers.
pub fn unfinished(folder: &Path) -> io::Result<Vec<Unfinished>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name
            .as_encoded_bytes()
            .starts_with(TEMPORARY_PREFIX.as_bytes())
        {
            let about = entry.metadata()?;
            files.push(Unfinished {
                path: entry.path(),
                length: about.len(),
                // A time to come is that of another clock: it is not old.
                age: about.modified()?.elapsed().unwrap_or_default(),
            });
        }
    }
    Ok(files)
}

/// A board's folder that this process writes to, alone.
pub struct Folder {
    path: PathBuf,
    handle: File,
}

impl Folder {
    /// Opens the folder, makes it if need be, and locks it against other writers.
    pub fn open(path: &Path) -> Result<Self> {
        let context = || format!("cannot use the folder {}", path.display());
        make_open(path).with_context(context)?;
        let folder = Self {
            path: path.to_owned(),
            handle: File::open(path).with_context(context)?,
        };
        let age = match folder.handle.try_lock() {
            Ok(()) if is_of_this_machine(&folder.handle) => Duration::ZERO,
            // A gild on another machine may hold a lock that this one does not see.
            Ok(()) => ABANDONED,
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "another gild is writing to {}; next: wait until it is done",
                    path.display()
                )
            }
            // Some network file systems cannot; the renames are atomic there too.
            Err(TryLockError::Error(error)) => {
                log::debug!("cannot lock {}: {error}", path.display());
                ABANDONED
            }
        };
        for left in unfinished(path).with_context(context)? {
            if left.age >= age {
                log::info!(
                    "removing {}, left behind by an earlier gild",
                    left.path.display()
                );
                fs::remove_file(&left.path).with_context(context)?;
            }
        }
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn place(&self) -> Place {
        Place::Folder(self.path.clone())
    }

    /// A file without a name that readers know; it vanishes unless it is [`put`](Self::put). Whatever the umask says,
    /// everybody may read it: nodes read without a user, and it has no secret in it.
    pub fn stage(&self) -> Result<Unnamed> {
        let context = || format!("cannot create a file in {}", self.path.display());
        let mut file =
            Unnamed::new(&self.path, OsStr::new(TEMPORARY_PREFIX)).with_context(context)?;
        let_read(file.file(), 0o004, 0o644, &self.path);
        Ok(file)
    }

    /// Warns of a folder that was there before and that nodes cannot read. A desk serves its own, which is closed to all others.
    pub fn warn_if_closed(&self) {
        if self
            .path
            .parent()
            .is_some_and(|above| gild_desk::folder::Folder::new(above).settings().exists())
        {
            return;
        }
        let above = self
            .path
            .parent()
            .filter(|path| !path.as_os_str().is_empty());
        for path in above.into_iter().chain([self.path.as_path()]) {
            let is_open = |about: fs::Metadata| about.permissions().mode() & 0o005 == 0o005;
            if !fs::metadata(path).is_ok_and(is_open) {
                log::warn!(
                    "others may not read {}, so nodes may not either (fault 3); next: chmod a+rx {0}",
                    path.display()
                );
            }
        }
    }

    /// A staged file with these bytes, safe on the disk.
    pub fn stage_bytes(&self, bytes: &[u8]) -> Result<Finished> {
        let mut file = self.stage()?;
        file.file()
            .write_all(bytes)
            .and_then(|()| file.finish())
            .with_context(|| format!("cannot write to {}", self.path.display()))
    }

    /// Gives a staged file its name.
    pub fn put(&self, file: Finished, name: &str) -> Result<()> {
        let path = self.path.join(name);
        // What is not a file was not put here by gild.
        ensure!(
            path.symlink_metadata()
                .map_or(true, |about| about.is_file() || about.is_symlink()),
            "{} is not a file, so no file takes its place; next: remove it, or give another folder",
            path.display()
        );
        file.put(&path)
            .with_context(|| format!("cannot put {name} into {}", self.path.display()))
    }

    /// Makes the names safe on the disk.
    pub fn sync(&self) -> Result<()> {
        self.handle
            .sync_all()
            .with_context(|| format!("cannot write to {}", self.path.display()))
    }

    /// Puts a manifest, the files that follow from it, and its signature.
    ///
    /// The stored image is there already. The manifest itself comes last: who sees it sees all of them.
    pub fn put_manifest(&self, manifest: &Manifest, signed: &Signed) -> Result<()> {
        let name = Names::of(&manifest.image_id).manifest;
        let mut staged = Vec::new();
        for (name, text) in companions(manifest, &signed.manifest) {
            staged.push((name, self.stage_bytes(text.as_bytes())?));
        }
        staged.push((
            signature_of(&name),
            self.stage_bytes(signed.signature.as_bytes())?,
        ));
        staged.push((name, self.stage_bytes(&signed.manifest)?));
        for (name, file) in staged {
            self.put(file, &name)?;
        }
        self.sync()
    }

    /// The manifest that this name leads to: that of the board's current image, or of a channel's.
    pub fn led_to(&self, name: &str) -> Result<Signed> {
        Signed::read(&self.place(), name)
    }

    /// Makes this manifest the board's current one.
    pub fn set_current(&self, signed: &Signed) -> Result<()> {
        self.lead_to(GOLDEN, signed)
    }

    /// Makes this manifest the one that a name leads to.
    ///
    /// The pair is two files, so a reader may read the new signature with the old manifest. Both are staged first, so that only
    /// one rename comes between them. The reader then sees a signature that does not match, and reads both again.
    pub fn lead_to(&self, name: &str, signed: &Signed) -> Result<()> {
        if self.led_to(name).is_ok_and(|current| current == *signed) {
            return Ok(());
        }
        let signature = self.stage_bytes(signed.signature.as_bytes())?;
        let manifest = self.stage_bytes(&signed.manifest)?;
        self.put(signature, &signature_of(name))?;
        self.put(manifest, name)?;
        self.sync()
    }

    /// The manifest already published under this image id, and its signature, which is empty where it was lost.
    pub fn existing(&self, image_id: &str) -> Result<Option<Signed>> {
        let name = Names::of(image_id).manifest;
        let exists = |name: &str| {
            let path = self.path.join(name);
            path.try_exists()
                .with_context(|| format!("cannot look at {}", path.display()))
        };
        if !exists(&name)? {
            return Ok(None);
        }
        if exists(&signature_of(&name))? {
            return Signed::read(&self.place(), &name).map(Some);
        }
        Ok(Some(Signed {
            manifest: self.place().read(&name, MAX_MANIFEST_BYTES)?,
            signature: String::new(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_added_and_never_taken_away() {
        let file = tempfile::tempfile().expect("a file");
        let mode = || file.metadata().expect("a file").permissions().mode() & 0o7777;
        for (before, after) in [(0o2660, 0o2664), (0o600, 0o644), (0o604, 0o604)] {
            let permissions = Permissions::from_mode(before);
            file.set_permissions(permissions).expect("a mode");
            let_read(&file, 0o004, 0o644, Path::new("/srv"));
            assert_eq!(mode(), after, "{before:o}");
        }
    }

    #[test]
    fn a_file_system_that_refuses_a_mode_ends_nothing() {
        // The kernel's own, for the owner alone.
        let path = Path::new("/proc/self/environ");
        let file = File::open(path).expect("a file");
        open_to(&file, 0o004, 0o644).expect_err("a refusal");
        let_read(&file, 0o004, 0o644, path);
    }
}
