//! A build from the recipe to the raw image. It reads as the list in docs/golden-image.md.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::assemble::{self, Assembly, Identity};
use crate::base::{self, Builder, Initramfs, Mirrors, Security};
use crate::base_image::{self, BaseImage};
use crate::boot::{self, Kernel};
use crate::cache::{Cache, Cached, sha256_of};
use crate::error::BuildError;
use crate::first_boot;
use crate::image_id;
use crate::k3s::{self, K3s};
use crate::progress::Progress;
use crate::recipe::{self, Recipe};
use crate::record::Record;
use crate::sbom::{self, Component};
use crate::settings::{self, SettingsError};
use crate::site::{self, Site};
use crate::tree::{Tree, TreeError};
use crate::{
    age, apparmor, early_network, hold, k3s_settings, overlay, seal, units, up_to_date, updates,
    warnings,
};

/// Room in the root beyond its content, for what a node writes before its root is grown.
const SLACK: u64 = 256 << 20;

/// What a user may expect who gives a mirror with `--base`.
const MIRRORS_OF_A_BASE: &str = "the mirrors that you gave are for the packages that are added: the nodes' apt keeps the sources \
     of the vendor's image; next: lay others in with --overlay, if you want them";

/// What a build is made of.
#[derive(Debug)]
pub struct Options {
    /// gild's name of the board.
    pub board: String,
    /// The recipe file.
    pub recipe: PathBuf,
    /// A vendor's image instead of Debian's packages.
    pub base: Option<BaseImage>,
    /// Debian's archive, if not the host's own mirror.
    pub mirror: Option<String>,
    /// Debian's security archive.
    pub security: Security,
    /// Packages beyond the recipe's.
    pub packages: Vec<String>,
    /// The project's own files for the image.
    pub rootfs: PathBuf,
    /// Where `gild-seed` and `gild-reprovision` are.
    pub first_boot: PathBuf,
    /// The site's own files, laid over all others in this order.
    pub overlays: Vec<PathBuf>,
    /// The site's keys and addresses.
    pub site: site::Options,
    /// k3s, if the image is to have it.
    pub k3s: Option<K3s>,
    /// The cache folder.
    pub cache: PathBuf,
    /// Whether to make again what is kept.
    pub refresh: bool,
    /// Date of everything in the image, if not the date of the packages.
    pub source_date: Option<u64>,
    /// An mke2fs that reads tar files.
    pub mke2fs: PathBuf,
    /// Bytes of a sector of the disks that the image is for: 512 or 4096.
    pub sector_size: u32,
}

/// What a build gives in addition to the raw image.
#[derive(Debug)]
pub struct Built {
    /// The image's name.
    pub image_id: String,
    /// Its date, seconds since 1970.
    pub source_date: u64,
    /// The list of packages, SPDX JSON.
    pub sbom: String,
    /// What went in, JSON.
    pub record: String,
}

/// The inputs, read and found good.
struct Inputs {
    recipe: Recipe,
    mirrors: Mirrors,
    site: Site,
    k3s: Option<k3s::Installed>,
    /// Digests of the files that go in as they are. Their names say nothing of the host.
    files: BTreeMap<String, String>,
    cache: Cache,
    /// Something that is probably a mistake, but may be intended.
    warnings: Vec<String>,
}

/// Builds a golden image's raw disk image.
pub fn build(
    options: &Options,
    output: &Path,
    progress: &dyn Progress,
) -> Result<Built, BuildError> {
    progress.stage("checking the inputs");
    let inputs = check(options)?;
    for text in &inputs.warnings {
        progress.warn(text);
    }
    let recipe = &inputs.recipe;

    progress.stage("base: root file system of packages");
    let base = base(options, &inputs, progress)?;
    let source_date = base.about.source_date;

    progress.stage("files: overlay, k3s, first boot, site");
    let mut tree = Tree::from_tar(&base.tar)?;
    let identity = Identity::of(&options.board);
    let of_the_site = lay(&mut tree, options, &inputs, &identity)?;
    let kernel = Kernel::find(&tree)?;
    let mut boot = boot::files(&mut tree, &kernel, recipe, &identity)?;

    progress.stage("seal: nothing of this machine, no identity, no secret");
    let sealed = seal::seal(&mut tree)?;
    for change in &sealed {
        progress.note(&format!("{}: {}", change.item, change.path));
        for path in of_the_site.iter().filter(|path| change.is_about(path)) {
            progress.warn(&format!(
                "your overlay's /{path} is not in the image as it was: the seal is for all nodes, and this is {:?} in \
                 its table (docs/golden-image.md)",
                change.item
            ));
        }
    }
    let image_id = image_id::compute(
        &options.board,
        &tree,
        &boot,
        source_date,
        options.sector_size,
    )?;
    image_id::stamp(&mut tree, &options.board, &image_id)?;
    let mark = format!("image_id={image_id}\nboard={}\n", options.board);
    boot.insert("gild-image.env".to_owned(), mark.into_bytes().into());

    progress.stage("image: boot partition and root file system");
    let assembly = Assembly {
        identity: &identity,
        tree: &tree,
        boot: &boot,
        source_date,
        mke2fs: &options.mke2fs,
        sector_size: options.sector_size,
        slack: SLACK,
    };
    progress.at_work("writing the file systems");
    assemble::assemble(&assembly, output)?;
    if let Err(error) = check_unchanged(options, &inputs) {
        // The error of the check is reported, and an error of the removal is not.
        let _ = fs::remove_file(output);
        return Err(error);
    }
    let sbom = sbom::spdx(&tree, &image_id, source_date, &components(&inputs))?;
    let record = Record {
        image_id: image_id.clone(),
        board: options.board.clone(),
        source_date,
        sector_size: options.sector_size,
        kernel: kernel.version,
        base: base.about,
        recipe: serde_json::to_value(recipe)?,
        site: serde_json::to_value(&inputs.site)?,
        files: inputs.files.clone(),
        k3s: serde_json::to_value(&inputs.k3s)?,
        packages: options.packages.clone(),
        tools: tools(&options.mke2fs),
        sealed,
    }
    .to_json()?;
    Ok(Built {
        image_id,
        source_date,
        sbom,
        record,
    })
}

/// Everything that can be refused is refused here, before anything takes long.
fn check(options: &Options) -> Result<Inputs, BuildError> {
    let mut recipe = Recipe::read(&options.recipe)?;
    if options.base.is_some() {
        // Vendors' device trees fit their firmware, and have the LEDs.
        recipe.boot.one_size_cell = false;
        recipe.boot.leds = false;
    }
    if let Some(bad) = options
        .packages
        .iter()
        .find(|name| !recipe::is_package(name))
    {
        return Err(BuildError::PackageName { name: bad.clone() });
    }
    for folder in options.overlays.iter().chain([&options.rootfs]) {
        if !folder.is_dir() {
            return Err(BuildError::NotAFolder {
                path: folder.clone(),
            });
        }
    }
    for folder in &options.overlays {
        overlay::check_public(folder)?;
    }
    first_boot::check(&options.first_boot)?;
    if !options.mke2fs.is_file() {
        return Err(BuildError::NoMke2fs {
            path: options.mke2fs.clone(),
        });
    }
    if let Some(base) = &options.base {
        base.check()?;
    }
    let k3s = options.k3s.as_ref().map(K3s::check).transpose()?;
    let site = options.site.read()?;
    site.check_alone(&options.overlays)?;
    let mirrors = Mirrors::find(options.mirror.as_deref(), &options.security)?;
    let mut warnings = check_settings(options, &site, &mirrors)?;
    let is_given = options.mirror.is_some() || matches!(options.security, Security::At(_));
    if options.base.is_some() && is_given {
        warnings.push(MIRRORS_OF_A_BASE.to_owned());
    }
    Ok(Inputs {
        recipe,
        mirrors,
        site,
        k3s,
        files: digests(options)?,
        cache: Cache::open(&options.cache)?,
        warnings,
    })
}

/// Checks the site's settings for first boot, as far as that is possible without the base, and says what to warn of.
fn check_settings(
    options: &Options,
    site: &Site,
    mirrors: &Mirrors,
) -> Result<Vec<String>, BuildError> {
    let mut tree = Tree::default();
    for overlay in &options.overlays {
        overlay::lay(&mut tree, overlay)?;
    }
    k3s_settings::check(&tree)?;
    site.install(&mut tree)?;
    let settings = settings::read(&tree)?;
    match settings::check_authorities(&tree, &settings) {
        // They may be a package's.
        Err(SettingsError::NoAuthorities { .. }) => {}
        other => other?,
    }
    Ok(warnings::of(&tree, &settings, mirrors)?)
}

/// What initramfs-tools takes into an initramfs.
const OF_INITRAMFS: [&str; 2] = ["usr/share/initramfs-tools/**", "etc/initramfs-tools/**"];

/// The base of the recipe's packages or of a vendor's image, with the site's packages.
fn base(options: &Options, inputs: &Inputs, progress: &dyn Progress) -> Result<Cached, BuildError> {
    let builder = Builder {
        cache: &inputs.cache,
        mirrors: &inputs.mirrors,
        rootfs: &options.rootfs,
        source_date: options.source_date,
        refresh: options.refresh,
        progress,
    };
    let recipe = &inputs.recipe;
    let (base, packages, initramfs) = match &options.base {
        None => {
            let base = builder.debian(recipe)?;
            age::say(
                "the base has packages",
                &base.tar,
                &base.about,
                options.refresh,
                progress,
            );
            (base, options.packages.clone(), Initramfs::Updated)
        }
        Some(image) => {
            progress.note(&format!("reading {}", image.path.display()));
            let cached = base_image::import(image, &inputs.cache, progress)?;
            let tree = Tree::from_tar(&cached.tar)?;
            base_image::check_fits(&tree, recipe, &options.board, &image.path)?;
            let packages = [&recipe.packages[..], &options.packages].concat();
            (cached, packages, Initramfs::Kept)
        }
    };
    if packages.is_empty() {
        return Ok(base);
    }
    progress.note(&format!("adding packages: {}", packages.join(" ")));
    let with_packages = builder.with_packages(&base, recipe, &packages, initramfs)?;
    if initramfs == Initramfs::Updated {
        let (before, after) = (
            Tree::from_tar(&base.tar)?,
            Tree::from_tar(&with_packages.tar)?,
        );
        if let Some(file) = left_out_of_initramfs(&before, &after)? {
            progress.warn(&format!(
                "an added package has /{file}, which the initramfs does not have: it was made with the base; next: if nodes need it before their root \
                 is mounted, put the package into `packages` of a recipe of your own (--recipe), which makes the initramfs with it"
            ));
        }
    }
    age::say(
        "the added packages are",
        &with_packages.tar,
        &with_packages.about,
        options.refresh,
        progress,
    );
    Ok(with_packages)
}

/// The initramfs is made with the base, and not again when packages are added: this is the first file of theirs that it would need.
fn left_out_of_initramfs(base: &Tree, with_packages: &Tree) -> Result<Option<String>, TreeError> {
    for of_initramfs in OF_INITRAMFS {
        let added = with_packages.glob(of_initramfs)?;
        let is_file = |file: &str| {
            with_packages
                .get(file)
                .is_some_and(|entry| !entry.is_directory())
        };
        if let Some(file) = added
            .into_iter()
            .find(|file| is_file(file) && !base.contains(file))
        {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Puts into the tree what is not a package: the project's files, and after them only the site's. Says which files are of the
/// site's overlays.
fn lay(
    tree: &mut Tree,
    options: &Options,
    inputs: &Inputs,
    identity: &Identity,
) -> Result<Vec<String>, BuildError> {
    let recipe = &inputs.recipe;
    if options.base.is_some() {
        base_image::disarm(tree)?;
    } else {
        base::leave_sources(tree, recipe, &inputs.mirrors)?;
    }
    hold::hold(tree)?;
    early_network::start(tree)?;
    overlay::lay(tree, &options.rootfs)?;
    recipe.install(tree)?;
    first_boot::install(tree, &options.first_boot)?;
    if let Some(k3s) = &options.k3s {
        k3s.install(tree)?;
    } else {
        // The inspection does not ask for what was left out on purpose.
        tree.insert_file("usr/lib/gild/without-k3s", 0o644, Vec::new())?;
    }
    if options.security == Security::Without {
        tree.insert_file("usr/lib/gild/without-security-updates", 0o644, Vec::new())?;
    }
    let by_itself = recipe.updates.security && options.security != Security::Without;
    updates::install(tree, by_itself)?;
    tree.insert_dir("boot/firmware", 0o755)?;
    tree.insert_file("etc/fstab", 0o644, assemble::fstab(identity).into_bytes())?;
    let mut of_the_site = Vec::new();
    for overlay in &options.overlays {
        of_the_site.extend(overlay::lay(tree, overlay)?);
    }
    inputs.site.install(tree)?;
    settings::check(tree)?;
    units::apply(tree, &recipe.units)?;
    apparmor::leave_out(tree, &of_the_site)?;
    // Whether a vendor's packages have made all that /etc and /var need is not known.
    if options.base.is_none() {
        up_to_date::stamp(tree, &of_the_site)?;
    }
    Ok(of_the_site)
}

/// Refuses files that have changed since the build began: they are read after they are checked, and a base takes long.
fn check_unchanged(options: &Options, inputs: &Inputs) -> Result<(), BuildError> {
    let changed = |what: &str| BuildError::Changed {
        what: what.to_owned(),
    };
    for (name, digest) in digests(options)? {
        if inputs.files.get(&name) != Some(&digest) {
            return Err(changed(&name));
        }
    }
    match options.k3s.as_ref().zip(inputs.k3s.as_ref()) {
        Some((k3s, checked)) if !k3s.is_still(checked)? => Err(changed("k3s")),
        _ => Ok(()),
    }
}

/// Digests of the files that go in as they are, by names that say nothing of the host.
fn digests(options: &Options) -> Result<BTreeMap<String, String>, BuildError> {
    let mut digests = BTreeMap::from([("rootfs".to_owned(), overlay::digest(&options.rootfs)?)]);
    for (name, path) in first_boot::programs(&options.first_boot) {
        digests.insert(name.to_owned(), sha256_of(&path)?);
    }
    for (number, folder) in (1..).zip(&options.overlays) {
        digests.insert(format!("overlay {number}"), overlay::digest(folder)?);
    }
    Ok(digests)
}

/// What is in the image and no package.
fn components(inputs: &Inputs) -> Vec<Component> {
    inputs
        .k3s
        .iter()
        .map(|k3s| Component {
            name: "k3s".to_owned(),
            version: k3s.version.clone().unwrap_or_else(|| "unknown".to_owned()),
            supplier: None,
            sha256: k3s.sha256.clone(),
        })
        .collect()
}

/// The versions of the programs that the image's bytes depend on, as they say themselves.
fn tools(mke2fs: &Path) -> BTreeMap<String, String> {
    [
        ("mke2fs", mke2fs, "-V"),
        ("mkfs.vfat", Path::new("mkfs.vfat"), "--help"),
        ("mtools", Path::new("mcopy"), "--version"),
        ("mmdebstrap", Path::new("mmdebstrap"), "--version"),
    ]
    .into_iter()
    .filter_map(|(name, program, option)| {
        let mut command = Command::new(program);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let output = command.arg(option).output().ok()?;
        let words = [output.stdout, output.stderr].concat();
        let first = String::from_utf8_lossy(&words).lines().next()?.to_owned();
        Some((name.to_owned(), first))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_whose_hook_is_not_in_the_initramfs_is_named() {
        let tree = |files: &[&str]| {
            let mut tree = Tree::default();
            for file in files {
                tree.insert_file(file, 0o644, Vec::new()).expect("a file");
            }
            tree
        };
        let base = ["etc/initramfs-tools/modules", "usr/bin/a"];
        let left_out = |more: &str| {
            let after = tree(&[&base[..], &[more]].concat());
            left_out_of_initramfs(&tree(&base), &after).expect("a tree")
        };
        for hook in [
            "usr/share/initramfs-tools/hooks/overlayroot",
            "etc/initramfs-tools/conf.d/b",
        ] {
            assert_eq!(left_out(hook).as_deref(), Some(hook));
        }
        assert_eq!(left_out("usr/bin/b"), None);
    }
}
