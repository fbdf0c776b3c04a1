//! The boot partition: kernel, initramfs, device trees, and the text that names them to the board's firmware.

pub mod u_boot;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use gild_boards::device_tree::leds::{self, LedsError};
use gild_boards::device_tree::{self, NarrowError};
use gild_boards::dtbo::{self, DtboError, TREE_FOLDERS};
use gild_boards::uboot_script::ScriptError;
use gild_proof::trial;

use crate::assemble::{self, AssembleError, Identity, TOO_LARGE};
use crate::recipe::{Boot, Loader, Overlay, Recipe};
use crate::tree::{Content, Kind, Tree, TreeError};

const KERNEL: &str = "vmlinuz.gz";
const INITRAMFS: &str = "initrd.img";
/// The content of the files that the boot script looks for: for people, and so that no file is empty.
const TOKEN: &str = "This image has not started yet: boot.scr and gild use these files, and gild removes them then.\n";

/// The names of kernels with pages of 16 KiB, which containers built for 4 KiB do not survive.
const LARGE_PAGES: [&str; 2] = ["16k", "2712"];

/// Why there is no boot partition.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// No kernel.
    #[error("the root file system has no kernel with 4 KiB pages{found}; next: {next}")]
    NoKernel {
        /// What is there instead.
        found: String,
        /// What to do about it.
        next: &'static str,
    },
    /// A file that must come with the kernel is missing.
    #[error("kernel {version} has no {what}: looked at {}", places.join(", "))]
    Missing {
        /// The kernel.
        version: String,
        /// What is missing.
        what: String,
        /// Where it could have been.
        places: Vec<String>,
    },
    /// A file that the board's firmware could not read.
    #[error(
        "the initramfs {path} has {bytes} bytes: firmware of a Pi 5 from before June 2025 cannot read 32 MiB or more; \
         next: shorten the recipe's `initramfs_modules`"
    )]
    LargeInitramfs {
        /// Its path in the root file system.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// A device tree that gets no LEDs.
    #[error(
        "kernel {version}: {name} gets no LEDs: {source}; next: `leds = false` in the recipe leaves them out"
    )]
    Leds {
        /// The kernel.
        version: String,
        /// Name of the device tree on the boot partition.
        name: String,
        /// Why.
        source: LedsError,
    },
    /// A device tree that old firmware would spoil.
    #[error("kernel {version}: the sizes in {name} cannot be made one cell wide: {source}")]
    Narrow {
        /// The kernel.
        version: String,
        /// The device tree's name on the boot partition.
        name: String,
        /// Why not.
        source: NarrowError,
    },
    /// Boards that need an overlay would not start.
    #[error(
        "kernel {version}: {name} cannot be {what}, and boards that need it do not start: {source}; next: take a kernel \
         that supports these boards, or leave {name} out of your own recipe if you have no such board"
    )]
    Overlay {
        /// The kernel.
        version: String,
        /// The overlay's path on the boot partition.
        name: String,
        /// What was tried with it.
        what: &'static str,
        /// Why not.
        source: DtboError,
    },
    /// The root file system could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A file could not be brought into the firmware's form.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// The boot script could not be made.
    #[error("the boot script cannot be made; next: shorten the recipe's `kernel_arguments`")]
    Script(#[from] ScriptError),
}

/// The kernel that a root file system starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// As `uname -r` says.
    pub version: String,
    image: String,
    initramfs: String,
}

impl Kernel {
    /// The newest kernel in the tree that has pages of 4 KiB.
    pub fn find(tree: &Tree) -> Result<Self, BootError> {
        let versions: Vec<String> = tree
            .glob("usr/lib/modules/*")?
            .into_iter()
            .filter(|path| tree.get(path).is_some_and(crate::tree::Entry::is_directory))
            .filter_map(|path| path.rsplit('/').next().map(str::to_owned))
            .collect();
        let image_of = |version: &String| {
            places(version, &["usr/lib/modules/V/vmlinuz", "boot/vmlinuz-V"])
                .into_iter()
                .find(|path| is_file(tree, path))
                .map(|image| (version.clone(), image))
        };
        let (version, image) = versions
            .iter()
            .filter(|version| !LARGE_PAGES.iter().any(|mark| version.contains(mark)))
            .filter_map(image_of)
            .max_by(|(one, _), (other, _)| compare_versions(one, other))
            .ok_or_else(|| BootError::NoKernel {
                found: match versions.as_slice() {
                    [] => String::new(),
                    _ => format!(" (modules are there of {})", versions.join(", ")),
                },
                next: "name a kernel's package in the recipe's `backports` or `packages`",
            })?;
        let initramfs = format!("boot/initrd.img-{version}");
        if !is_file(tree, &initramfs) {
            return Err(BootError::Missing {
                version,
                what: "initramfs".to_owned(),
                places: vec![initramfs],
            });
        }
        Ok(Self {
            version,
            image,
            initramfs,
        })
    }
}

/// Refuses a root file system without a kernel for the board: a kernel with the board's device trees.
pub fn check(tree: &Tree, recipe: &Recipe) -> Result<(), BootError> {
    let kernel = Kernel::find(tree)?;
    for (name, path) in &recipe.boot.device_trees {
        device_tree_path(tree, &kernel, name, path)?;
    }
    Ok(())
}

/// Takes the boot partition's files from the root file system: files by their paths on the partition.
pub fn files(
    tree: &mut Tree,
    kernel: &Kernel,
    recipe: &Recipe,
    identity: &Identity,
) -> Result<BTreeMap<String, Content>, BootError> {
    let mut files = own_files(recipe, identity)?;
    let initramfs = content(tree, &kernel.initramfs)?;
    if initramfs.length() >= TOO_LARGE {
        return Err(BootError::LargeInitramfs {
            path: kernel.initramfs.clone(),
            bytes: initramfs.length(),
        });
    }
    files.insert(INITRAMFS.to_owned(), initramfs);
    let image = content(tree, &kernel.image)?;
    files.insert(KERNEL.to_owned(), assemble::gzip(&image)?.into());
    let trees = device_trees(tree, kernel, &recipe.boot)?;
    for (name, overlay) in &recipe.boot.overlays {
        let bytes = device_tree_overlay(tree, kernel, (name, overlay), &trees)?;
        files.insert(name.clone(), bytes.into());
    }
    files.extend(trees.into_iter().map(|(name, bytes)| (name, bytes.into())));
    // The root need not hold them a second time.
    for path in [&kernel.initramfs, &kernel.image] {
        tree.remove(path)?;
    }
    // Nor those of other boards: the firmware reads none of the root. A vendor's overlays stay, by which the inspection knows them.
    for folder in places(&kernel.version, &TREE_FOLDERS) {
        for path in tree.glob(&format!("{folder}/**/*.dtb"))? {
            tree.remove(&path)?;
        }
    }
    Ok(files)
}

/// What the board's firmware reads, by the paths on the boot partition. The image is on trial.
fn own_files(
    recipe: &Recipe,
    identity: &Identity,
) -> Result<BTreeMap<String, Content>, ScriptError> {
    let arguments = format!(
        "root=PARTUUID={} {}",
        identity.root_partuuid(),
        recipe.kernel_arguments.join(" ")
    );
    let files = match recipe.boot.loader {
        Loader::RaspberryPi => {
            let config = trial::with_trial(recipe.boot.config.trim_start());
            vec![
                (trial::CONFIG_TXT, config.into_bytes()),
                ("cmdline.txt", format!("{arguments}\n").into_bytes()),
            ]
        }
        Loader::UBoot => {
            let device_tree = recipe.boot.device_trees.keys().next();
            let device_tree = device_tree.map_or("", String::as_str);
            let script = u_boot::boot_scr(device_tree, &arguments)?;
            let tokens = trial::TOKENS.into_iter().chain([trial::ON]);
            let tokens = tokens.map(|path| (path, TOKEN.as_bytes().to_vec()));
            tokens.chain([(trial::BOOT_SCR, script)]).collect()
        }
    };
    let files = files.into_iter();
    Ok(files
        .map(|(path, bytes)| (path.to_owned(), bytes.into()))
        .collect())
}

/// The device trees, by their names on the boot partition.
fn device_trees(
    tree: &Tree,
    kernel: &Kernel,
    boot: &Boot,
) -> Result<BTreeMap<String, Vec<u8>>, BootError> {
    let mut trees = BTreeMap::new();
    for (name, path) in &boot.device_trees {
        let mut bytes = tree.read(&device_tree_path(tree, kernel, name, path)?)?;
        if boot.one_size_cell {
            bytes = device_tree::one_size_cell(&bytes).map_err(|source| BootError::Narrow {
                version: kernel.version.clone(),
                name: name.clone(),
                source,
            })?;
        }
        if boot.leds {
            bytes = leds::with_leds(&bytes).map_err(|source| BootError::Leds {
                version: kernel.version.clone(),
                name: name.clone(),
                source,
            })?;
        }
        trees.insert(name.clone(), bytes);
    }
    Ok(trees)
}

/// An overlay for the boot partition: the kernel's own if it comes with one, else one made of two trees.
///
/// A vendor's kernel changes more in its overlay than the stepping needs, and fits its own tree only. The mainline kernel
/// has none.
fn device_tree_overlay(
    tree: &Tree,
    kernel: &Kernel,
    (name, overlay): (&str, &Overlay),
    trees: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<u8>, BootError> {
    let refused = |what| {
        move |source| BootError::Overlay {
            version: kernel.version.clone(),
            name: name.to_owned(),
            what,
            source,
        }
    };
    let (from, to) = (&trees[&overlay.from], &trees[&overlay.to]);
    let mut own = dtbo::places_of_own(&kernel.version, name);
    let bytes = if let Some(place) = own.find(|place| is_file(tree, place)) {
        tree.read(&place)?
    } else {
        let bytes = dtbo::between(from, to).map_err(refused("made"))?;
        dtbo::check_gives(from, &bytes, to).map_err(refused("used"))?;
        bytes
    };
    dtbo::check_devices(from, &bytes, to).map_err(refused("used"))?;
    Ok(bytes)
}

/// The path of a device tree that comes with the kernel. Vendors' kernels may give it the firmware's name.
fn device_tree_path(
    tree: &Tree,
    kernel: &Kernel,
    name: &str,
    path: &str,
) -> Result<String, BootError> {
    let places: Vec<String> = places(&kernel.version, &TREE_FOLDERS)
        .into_iter()
        .flat_map(|folder| {
            let vendor = path.split('/').next().unwrap_or_default();
            [
                format!("{folder}/{path}"),
                format!("{folder}/{vendor}/{name}"),
            ]
        })
        .collect();
    match places.iter().find(|place| is_file(tree, place)) {
        Some(found) => Ok(found.clone()),
        None => Err(BootError::Missing {
            version: kernel.version.clone(),
            what: format!("device tree {path}"),
            places,
        }),
    }
}

fn places(version: &str, patterns: &[&str]) -> Vec<String> {
    patterns
        .iter()
        .map(|pattern| pattern.replace('V', version))
        .collect()
}

fn is_file(tree: &Tree, path: &str) -> bool {
    tree.open(path).is_ok()
}

fn content(tree: &Tree, path: &str) -> Result<Content, BootError> {
    match tree.get(path).map(|entry| &entry.kind) {
        Some(Kind::File { content, .. }) => Ok(content.clone()),
        // Through symbolic links, as vendors' kernels may be.
        _ => Ok(tree.read(path)?.into()),
    }
}

/// Compares versions by their numbers, so that 6.12.9 comes before 6.12.10.
fn compare_versions(one: &str, other: &str) -> Ordering {
    let parts = |text: &str| -> Vec<(u64, String)> {
        text.split(['.', '-', '+', '~'])
            .map(|part| {
                let digits =
                    part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                (
                    part[..digits].parse().unwrap_or(0),
                    part[digits..].to_owned(),
                )
            })
            .collect()
    };
    parts(one).cmp(&parts(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree_with(files: &[&str]) -> Tree {
        let mut tree = Tree::default();
        for path in files {
            tree.insert_file(path, 0o644, path.as_bytes().to_vec())
                .expect("a file in an empty tree");
        }
        tree
    }

    #[test]
    fn the_newest_kernel_with_small_pages_is_taken() {
        let tree = tree_with(&[
            "usr/lib/modules/6.12.9-rpi-v8/modules.dep",
            "usr/lib/modules/6.12.10-rpi-v8/modules.dep",
            "usr/lib/modules/6.12.11-rpi-2712/modules.dep",
            "usr/lib/modules/7.0.0-arm64-16k/vmlinuz",
            "boot/vmlinuz-6.12.9-rpi-v8",
            "boot/vmlinuz-6.12.10-rpi-v8",
            "boot/vmlinuz-6.12.11-rpi-2712",
            "boot/initrd.img-6.12.10-rpi-v8",
        ]);
        let kernel = Kernel::find(&tree).expect("a kernel");
        assert_eq!(kernel.version, "6.12.10-rpi-v8");
        assert_eq!(kernel.image, "boot/vmlinuz-6.12.10-rpi-v8");
    }

    #[test]
    fn a_root_without_a_usable_kernel_is_refused_and_says_what_it_has() {
        let tree = tree_with(&["usr/lib/modules/7.0.0-arm64-16k/vmlinuz"]);
        let error = Kernel::find(&tree).expect_err("16 KiB pages").to_string();
        assert!(error.contains("7.0.0-arm64-16k"), "{error}");
        let tree = tree_with(&["usr/lib/modules/7.0.0-arm64/vmlinuz"]);
        let error = Kernel::find(&tree).expect_err("no initramfs").to_string();
        assert!(error.contains("boot/initrd.img-7.0.0-arm64"), "{error}");
    }
}
