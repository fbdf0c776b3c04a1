//! The golden image's root file system for this machine's own processor. Recipe, files, programs and seal are the same, by the same code.
//! But it has no kernel and no packages for hardware, and a stub instead of k3s.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use gild_golden::base::{self, Mirrors, Security};
use gild_golden::k3s::K3s;
use gild_golden::recipe::Recipe;
use gild_golden::tree::Tree;
use gild_golden::{
    apparmor, early_network, first_boot, image_id, overlay, seal, units, up_to_date, updates,
};

use crate::cargo::node_programs;
use crate::command::{command, run};
use crate::workspace;

const BOARD: &str = "rpi5";

/// The program that runs instead of k3s.
const STUB: &str = "k3s-stub";

/// Packages for hardware and for the kernel. The image here has neither.
const LEFT_OUT: [&str; 2] = ["firmware-realtek", "initramfs-tools"];

/// A date in the past. Only the whole seconds since 1970 matter.
const SOURCE_DATE: u64 = 1_760_000_000;

/// The golden image leaves virtual interfaces to k3s, but here the network is a pair of them. So this file is changed.
const WIRED: &str = "usr/lib/systemd/network/20-gild-wired.network";

/// The image's inputs except packages and programs. The code that makes it is one of them.
const INPUTS: [&str; 4] = [
    "boards",
    "image-builder/node/rootfs",
    "image-builder/golden/src",
    "tests/src/nspawn",
];

/// A root file system, unpacked.
pub struct Image {
    root: PathBuf,
}

impl Image {
    /// The golden image. It comes from the cache if none of its inputs has changed.
    pub fn golden() -> Result<Self> {
        // The sources do not change under a running test.
        static MADE: Mutex<Option<PathBuf>> = Mutex::new(None);
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let root = match made.take() {
            Some(root) => root,
            None => make()?,
        };
        *made = Some(root.clone());
        Ok(Self { root })
    }

    /// Its root directory, which nobody may change.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

fn make() -> Result<PathBuf> {
    let recipe = Recipe::read(&workspace::root().join(format!("boards/{BOARD}/image.toml")))?;
    let base = packages(&recipe)?;
    let programs = node_programs()?;
    let mut inputs = Inputs::default();
    inputs.add(&programs.join("gild-seed"))?;
    inputs.add(&programs.join("gild-reprovision"))?;
    inputs.add(&programs.join(STUB))?;
    for directory in INPUTS {
        inputs.add(&workspace::root().join(directory))?;
    }
    let place = workspace::cached("first-boot-image", &inputs.key(&base)?, |work| {
        let tree = tree(&recipe, &base.join("base.tar"), &programs)?;
        unpack(&tree, work)
    })?;
    Ok(place.join("root"))
}

/// A root file system of the recipe's packages.
fn packages(recipe: &Recipe) -> Result<PathBuf> {
    let names: Vec<_> = recipe
        .packages
        .iter()
        .map(String::as_str)
        .filter(|name| !LEFT_OUT.contains(name))
        .collect();
    let mirrors = Mirrors::find(None, &Security::OfThisMachine)?;
    let backports = format!("{}-backports", recipe.suite);
    let suites = mirrors.suites(&recipe.suite);
    let sources: Vec<_> = suites
        .iter()
        .filter(|(_, suite)| *suite != backports)
        .map(|(mirror, suite)| format!("deb {mirror} {suite} main"))
        .collect();
    let sources = sources.join("\n") + "\n";
    let lean = workspace::root().join("image-builder/node/rootfs/etc/dpkg/dpkg.cfg.d/gild-lean");
    let key = workspace::key(&[&lean], &[&sources, &names.join(" ")])?;
    workspace::cached("first-boot-base", &key, |work| {
        let access = work.join("apt.conf");
        fs::write(&access, base::access()?)?;
        let list = work.join("sources.list");
        fs::write(&list, &sources)?;
        run(command("mmdebstrap")
            .args(["--quiet", "--variant=minbase", "--mode=root"])
            .arg(format!("--include={}", names.join(",")))
            .arg(format!("--aptopt={}", access.display()))
            .arg(format!("--dpkgopt={}", lean.display()))
            .arg(&recipe.suite)
            .arg(work.join("base.tar"))
            .arg(&list))
        .context("making a root file system of Debian's packages")?;
        Ok(())
    })
}

/// The image's inputs except packages.
#[derive(Default)]
struct Inputs {
    files: Vec<PathBuf>,
    links: Vec<String>,
}

impl Inputs {
    fn add(&mut self, path: &Path) -> Result<()> {
        let metadata =
            fs::symlink_metadata(path).with_context(|| format!("looking at {}", path.display()))?;
        if metadata.is_symlink() {
            let target = fs::read_link(path)?;
            self.links
                .push(format!("{} -> {}", path.display(), target.display()));
        } else if metadata.is_file() {
            self.files.push(path.to_owned());
        } else if metadata.is_dir() {
            let mut entries: Vec<_> = fs::read_dir(path)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<std::io::Result<_>>()?;
            entries.sort();
            for entry in entries {
                self.add(&entry)?;
            }
        }
        Ok(())
    }

    fn key(&self, base: &Path) -> Result<String> {
        let files: Vec<_> = self.files.iter().map(PathBuf::as_path).collect();
        let base = base.display().to_string();
        let paths = self.files.iter().map(|path| path.display().to_string());
        let words: Vec<_> = paths
            .chain(self.links.iter().cloned())
            .chain([base])
            .collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        workspace::key(&files, &words)
    }
}

/// Makes the tree as `gild image build` does, in the same order.
fn tree(recipe: &Recipe, base: &Path, programs: &Path) -> Result<Tree> {
    let mut tree = Tree::from_tar(base)?;
    early_network::start(&mut tree)?;
    overlay::lay(
        &mut tree,
        &workspace::root().join("image-builder/node/rootfs"),
    )?;
    recipe.install(&mut tree)?;
    first_boot::install(&mut tree, programs)?;
    let k3s = K3s {
        program: programs.join(STUB),
        sha256: String::new(),
        airgap_images: None,
    };
    k3s.install(&mut tree)?;
    updates::install(&mut tree, recipe.updates.security)?;
    units::apply(&mut tree, &recipe.units)?;
    apparmor::leave_out(&mut tree, &[])?;
    up_to_date::stamp(&mut tree, &[])?;
    seal::seal(&mut tree)?;
    let id = image_id::compute(BOARD, &tree, &BTreeMap::new(), SOURCE_DATE, 512)?;
    image_id::stamp(&mut tree, BOARD, &id)?;
    let wired = tree.read_text(WIRED)?;
    anyhow::ensure!(
        wired.contains("\nKind=!*\n"),
        "{WIRED} takes other interfaces than before"
    );
    tree.replace_content(WIRED, wired.replace("\nKind=!*\n", "\nKind=veth\n"))?;
    Ok(tree)
}

fn unpack(tree: &Tree, work: &Path) -> Result<()> {
    let tar = work.join("image.tar");
    tree.write_tar(&mut BufWriter::new(File::create(&tar)?), SOURCE_DATE)?;
    let root = work.join("root");
    fs::create_dir(&root)?;
    run(command("tar")
        .args([
            "--extract",
            "--numeric-owner",
            "--same-permissions",
            "--xattrs",
            "--xattrs-include=*",
        ])
        .arg("--directory")
        .arg(&root)
        .arg("--file")
        .arg(&tar))?;
    fs::remove_file(&tar)?;
    Ok(())
}
