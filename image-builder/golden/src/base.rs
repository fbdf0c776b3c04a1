//! The base: a root file system of Debian packages, made by mmdebstrap and kept in the cache.

mod counts;
mod dates;
mod emulation;
mod host_apt;
mod mirror;
mod mmdebstrap;
mod packages;
mod temporary;

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::cache::{Cache, CacheError, Cached, Key, sha256_of};
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::tree::{Tree, TreeError};

pub use emulation::check as check_emulation;
pub use mirror::{Mirrors, PassedOver, Security, Unusable, access};

/// Debian's name for the processors of all boards.
const ARCHITECTURE: &str = "arm64";

/// The input that says which date was given for the image.
pub const SOURCE_DATE: &str = "source date";
/// The input that says from which day the base's packages are. Other packages were added to that base.
const OF_DAY: &str = "base: packages of";

/// The last steps in the new root, as mmdebstrap's hooks.
const CUSTOMIZE: &str = include_str!("base/customize.sh");
const SET_ASIDE: &str = include_str!("base/set-aside.sh");
const ADD_PACKAGES: &str = include_str!("base/add-packages.sh");

/// Debian's keyring in the image.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The project's own files that matter while packages are installed: which of their files are left out, and what
/// the initramfs is made of.
const LEAN: &str = "etc/dpkg/dpkg.cfg.d/gild-lean";
const INITRAMFS_TOOLS: &str = "etc/initramfs-tools";

/// Why there is no base.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The host's apt knows no Debian archive.
    #[error(
        "this machine's apt has no source of Debian's archive that nodes could reach too (http or https){passed_over}; next: give \
         one with --mirror URL"
    )]
    NoMirror {
        /// What it has.
        passed_over: PassedOver,
    },
    /// The user does not say where security updates come from, and the host's apt does not know.
    #[error(
        "this machine's apt has no source of Debian's security archive that nodes could reach too (http or \
         https){passed_over}, so neither the image nor its nodes would get security updates; next: give this machine such a \
         source, or give one with --security-mirror URL, or say --without-security-updates"
    )]
    NoSecurityMirror {
        /// What it has.
        passed_over: PassedOver,
    },
    /// A mirror that cannot be used.
    #[error("this mirror cannot be used: {0}")]
    BadMirror(#[from] Unusable),
    /// Nothing to check packages with.
    #[error(
        "there is no Debian keyring on this machine; next: apt-get install debian-archive-keyring"
    )]
    NoKeyring,
    /// The package lists cannot be had.
    #[error(
        "cannot read Debian's package lists: {words}; next: look at the mirror's address (--mirror), \
         or install a newer debian-archive-keyring if a key is missing"
    )]
    Lists {
        /// What apt said.
        words: String,
    },
    /// A program that is needed could not be started.
    #[error("cannot run {program}; next: make setup, or apt-get install {program}")]
    Program {
        /// The program.
        program: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// mmdebstrap failed.
    #[error(
        "mmdebstrap failed ({status}); its last lines:\n{words}\nnext: {}",
        next_step(words, log)
    )]
    Mmdebstrap {
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it said.
        words: String,
        /// All that it said.
        log: PathBuf,
    },
    /// Programs of the boards' processor do not run here.
    #[error(
        "this machine cannot run {ARCHITECTURE} programs ({reason}), and gild needs that to install packages; \
         next: apt-get install qemu-user-static binfmt-support, and run toolchain/arm64-programs in a checkout (`make image` does both), \
         /usr/share/gild/arm64-programs of the Debian package, or ~/.local/share/gild/arm64-programs after `make install`"
    )]
    Emulation {
        /// What was found.
        reason: String,
    },
    /// The root of a name space may not enter the folder for temporary files.
    #[error(
        "without root, gild installs packages in a user namespace, whose root may not enter {} (on the way to {}); next: set \
         TMPDIR to a folder that everybody may enter, such as /var/tmp",
        closed.display(),
        path.display()
    )]
    Temporary {
        /// The folder for temporary files.
        path: PathBuf,
        /// What is closed to others.
        closed: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot read or write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// How bases are made here.
pub struct Builder<'a> {
    /// Where they are kept.
    pub cache: &'a Cache,
    /// Where packages come from.
    pub mirrors: &'a Mirrors,
    /// The project's own files for the image.
    pub rootfs: &'a Path,
    /// The date of the image, if it is given.
    pub source_date: Option<u64>,
    /// Whether to make again what is in the cache.
    pub refresh: bool,
    /// Who wants to know.
    pub progress: &'a dyn Progress,
}

impl Builder<'_> {
    /// The base of a recipe's packages.
    pub fn debian(&self, recipe: &Recipe) -> Result<Cached, BaseError> {
        let mut key = Key::new(&format!("{}-{ARCHITECTURE}", recipe.suite));
        self.add_common_inputs(&mut key, recipe)?;
        key.add("packages", recipe.packages.join(" "));
        key.add("backports", recipe.backports.join(" "));
        key.add("initramfs modules", recipe.initramfs_modules.join(" "));
        key.add("own files", self.own_files()?);
        key.add("last steps", hex::encode(Sha256::digest(CUSTOMIZE)));
        self.made(&key, recipe, |run| run.bootstrap(recipe))
    }

    /// A root file system with packages added to it.
    pub fn with_packages(
        &self,
        base: &Cached,
        recipe: &Recipe,
        packages: &[String],
        initramfs: Initramfs,
    ) -> Result<Cached, BaseError> {
        let key = self.added_key(base, recipe, packages, initramfs)?;
        self.made(&key, recipe, |run| {
            run.source_date = run.source_date.max(base.about.source_date);
            run.extend(&base.tar, packages, initramfs)
        })
    }

    fn added_key(
        &self,
        base: &Cached,
        recipe: &Recipe,
        packages: &[String],
        initramfs: Initramfs,
    ) -> Result<Key, BaseError> {
        let mut key = Key::new("added");
        self.add_common_inputs(&mut key, recipe)?;
        // The record of what is built on it names all inputs, the vendor's image among them.
        for (what, value) in &base.about.inputs {
            key.add(&format!("base: {what}"), &**value);
        }
        key.add("base", &*base.about.sha256);
        key.add(OF_DAY, base.about.source_date.to_string());
        key.add("packages", packages.join(" "));
        key.add(
            "steps",
            hex::encode(Sha256::digest([SET_ASIDE, ADD_PACKAGES].concat())),
        );
        key.add("initramfs", format!("{initramfs:?}"));
        Ok(key)
    }

    /// The base of this key: the one in the cache, or a new one.
    fn made(
        &self,
        key: &Key,
        recipe: &Recipe,
        make: impl FnOnce(&mut mmdebstrap::Run<'_>) -> Result<(), BaseError>,
    ) -> Result<Cached, BaseError> {
        let slot = self.cache.lock(key, self.progress)?;
        if !self.refresh
            && let Some(cached) = slot.existing(self.progress)
        {
            return Ok(cached);
        }
        emulation::check()?;
        let temporary = temporary::place(&self.cache.subfolder("tmp")?, self.progress)?;
        let sources = self.sources(recipe)?;
        let access = mirror::access()?;
        // A proxy's password may be in apt's configuration.
        let private = self.cache.scratch()?;
        let source_date = if let Some(given) = self.source_date {
            given
        } else {
            dates::newest(private.path(), &sources, &access, ARCHITECTURE)?
        };
        let mut run = mmdebstrap::Run {
            slot: &slot,
            suite: &recipe.suite,
            sources: &sources,
            access: &access,
            rootfs: self.rootfs,
            packages: packages::Packages {
                folder: self.cache.subfolder("packages")?,
            },
            temporary,
            private: private.path(),
            source_date,
            progress: self.progress,
        };
        make(&mut run)?;
        Ok(slot.finish(run.source_date)?)
    }

    fn add_common_inputs(&self, key: &mut Key, recipe: &Recipe) -> Result<(), BaseError> {
        key.add("builder", mmdebstrap::VERSION);
        key.add("mmdebstrap", mmdebstrap::program_version()?);
        key.add("architecture", ARCHITECTURE);
        key.add("suite", &*recipe.suite);
        key.add("components", recipe.components.join(" "));
        key.add("mirror", &*self.mirrors.main);
        key.add(
            "security mirror",
            self.mirrors.security.as_deref().unwrap_or("none"),
        );
        key.add("keyring", sha256_of(&mirror::keyring()?)?);
        if let Some(date) = self.source_date {
            key.add(SOURCE_DATE, date.to_string());
        }
        Ok(())
    }

    /// The lines of a sources.list.
    fn sources(&self, recipe: &Recipe) -> Result<String, BaseError> {
        let keyring = mirror::keyring()?;
        let line = |(mirror, suite): (&str, String)| {
            let components = recipe.components.join(" ");
            format!(
                "deb [signed-by={}] {mirror} {suite} {components}\n",
                keyring.display()
            )
        };
        Ok(self
            .mirrors
            .suites(&recipe.suite)
            .into_iter()
            .map(line)
            .collect())
    }

    /// The digest of the files that packages read while they are installed.
    fn own_files(&self) -> Result<String, BaseError> {
        let mut hasher = Sha256::new();
        let mut files = mmdebstrap::files(&self.rootfs.join(INITRAMFS_TOOLS))?;
        files.push(self.rootfs.join(LEAN));
        for path in files {
            let name = path.strip_prefix(self.rootfs).unwrap_or(&path);
            hasher.update(format!("{} {}\n", name.display(), sha256_of(&path)?));
        }
        Ok(hex::encode(hasher.finalize()))
    }
}

/// What happens to the initramfs when packages are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initramfs {
    /// Packages may ask for another one. In a base of gild's that makes none, because its /boot has no kernel.
    Updated,
    /// It stays as the base image's vendor made it.
    Kept,
}

fn failed(path: &Path) -> impl Fn(io::Error) -> BaseError {
    move |source| BaseError::File {
        path: path.to_owned(),
        source,
    }
}

/// Writes the sources that a node's own apt reads: the mirrors that its packages came from.
pub fn leave_sources(tree: &mut Tree, recipe: &Recipe, mirrors: &Mirrors) -> Result<(), TreeError> {
    for path in tree.glob("etc/apt/sources.list{,.d/*}")? {
        tree.remove(&path)?;
    }
    let stanzas = mirrors.suites(&recipe.suite).into_iter().map(|(mirror, suite)| {
        format!(
            "Types: deb\nURIs: {mirror}\nSuites: {suite}\nComponents: {}\nSigned-By: {KEYRING}\n",
            recipe.components.join(" ")
        )
    });
    let text = stanzas.collect::<Vec<_>>().join("\n");
    tree.insert_file(
        "etc/apt/sources.list.d/debian.sources",
        0o644,
        text.into_bytes(),
    )
}

/// apt's own words for packages that no archive has.
const NO_PACKAGE: [(&str, &str); 2] = [
    ("E: Unable to locate package ", ""),
    ("E: Package '", "' has no installation candidate"),
];

/// What to do about the last words of mmdebstrap.
fn next_step(words: &str, log: &Path) -> String {
    let missing = |line: &'_ str| {
        let of = |(start, end): (&str, &str)| {
            let name = line.trim().strip_prefix(start)?.strip_suffix(end)?;
            Some(name.to_owned())
        };
        NO_PACKAGE.into_iter().find_map(of)
    };
    let names: Vec<String> = words.lines().filter_map(missing).collect();
    if names.is_empty() {
        return format!("read the whole log in {}", log.display());
    }
    format!(
        "correct these names, or take them out: {} (--package, and `packages` of the recipe)",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_no_archive_has_is_named_in_the_next_step() {
        let log = Path::new("base.log");
        let words = "Reading package lists...\nE: Unable to locate package htpo\n\
                     E: Package 'nano-tiny' has no installation candidate\nE: mmdebstrap failed to run";
        let next = next_step(words, log);
        assert!(
            next.starts_with("correct these names, or take them out: htpo, nano-tiny ("),
            "{next}"
        );
        let other = next_step("E: Failed to fetch http://mirror.example", log);
        assert_eq!(other, "read the whole log in base.log");
    }

    pub struct Silent;

    impl Progress for Silent {
        fn stage(&self, _: &str) {}
        fn note(&self, _: &str) {}
        fn warn(&self, _: &str) {}
    }

    #[test]
    fn what_packages_are_added_to_stays_among_the_inputs() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("a cache");
        let mirrors = Mirrors {
            main: "https://mirror.example/debian".to_owned(),
            security: None,
        };
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let recipe =
            Recipe::read(&project.join("boards/rpi5/image.toml")).expect("the project's recipe");
        let mut key = Key::new("vendor");
        key.add("image sha256", "ab".repeat(32));
        let slot = cache.lock(&key, &Silent).expect("a slot");
        std::fs::write(slot.unfinished(), "root").expect("a file");
        let vendor = slot.finish(1).expect("a root");
        let builder = Builder {
            cache: &cache,
            mirrors: &mirrors,
            rootfs: &project.join("image-builder/node/rootfs"),
            source_date: None,
            refresh: false,
            progress: &Silent,
        };
        let key = builder
            .added_key(&vendor, &recipe, &["curl".to_owned()], Initramfs::Kept)
            .expect("a key");
        let inputs = key.inputs();
        assert_eq!(inputs["base: image sha256"], "ab".repeat(32));
        assert_eq!(inputs["base"], hex::encode(Sha256::digest("root")));
        // Another way of making it, or another mmdebstrap, gives another root.
        assert!(inputs["mmdebstrap"].starts_with("mmdebstrap "));
        assert!(inputs.contains_key("builder"));
    }
}
