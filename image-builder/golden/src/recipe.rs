//! What goes into an image, as its recipe file says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use gild_proof::trial;

use crate::boot::u_boot::is_plain;
use crate::tree::{Tree, TreeError};

/// A recipe extends another, which extends another: deeper than this is a mistake.
const DEEPEST: usize = 8;

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("recipe {}: {problem}", path.display())]
pub struct RecipeError {
    path: PathBuf,
    problem: String,
}

/// What a recipe file says, joined with the files that it extends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recipe {
    /// Debian's release.
    pub suite: String,
    /// The parts of Debian's archive that packages may come from.
    pub components: Vec<String>,
    /// Packages by name, each once, in order.
    pub packages: Vec<String>,
    /// Packages from the suite's backports.
    pub backports: Vec<String>,
    /// Drivers that are offered in the initramfs.
    pub initramfs_modules: Vec<String>,
    /// Kernel modules that are loaded at each boot.
    pub modules: Vec<String>,
    /// Kernel parameters that are set at each boot.
    pub sysctls: BTreeMap<String, Setting>,
    /// Kernel arguments, without `root=`.
    pub kernel_arguments: Vec<String>,
    /// Units that are enabled, disabled and masked.
    pub units: Units,
    /// Whether nodes update themselves.
    pub updates: Updates,
    /// How the board's firmware finds the kernel.
    pub boot: Boot,
}

/// Whether nodes update themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Updates {
    /// Whether they install what Debian's security archive has, each night.
    pub security: bool,
}

/// The same in one file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdatesLayer {
    security: Option<bool>,
}

/// Units that are enabled, disabled and masked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Units {
    /// As `systemctl enable` would.
    #[serde(default)]
    pub enable: Vec<String>,
    /// As `systemctl disable` would: for what a package has enabled.
    #[serde(default)]
    pub disable: Vec<String>,
    /// As `systemctl mask` would.
    #[serde(default)]
    pub mask: Vec<String>,
}

/// The value of a kernel parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Setting {
    /// A number.
    Number(i64),
    /// Anything else.
    Text(String),
}

/// How the board's firmware finds the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// Which program reads the boot partition.
    pub loader: Loader,
    /// The text of `config.txt`, for the Raspberry Pi.
    #[serde(default)]
    pub config: String,
    /// Device trees: name on the boot partition, and path among the kernel's device trees.
    pub device_trees: BTreeMap<String, String>,
    /// Device tree overlays that the firmware applies on some boards, by their paths on the boot partition.
    #[serde(default)]
    pub overlays: BTreeMap<String, Overlay>,
    /// Whether device trees are changed to give sizes in one cell, for old firmware of the Raspberry Pi.
    #[serde(default)]
    pub one_size_cell: bool,
    /// Whether device trees without LEDs get the LEDs of the Raspberry Pi 5.
    #[serde(default)]
    pub leds: bool,
}

/// An overlay that turns one of the boot partition's device trees into another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// The device tree that the firmware loads.
    pub from: String,
    /// The device tree that the overlay makes of it.
    pub to: String,
}

/// Which program reads the boot partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loader {
    /// The Raspberry Pi's EEPROM: `config.txt` and `cmdline.txt`.
    RaspberryPi,
    /// U-Boot: `boot.scr`.
    UBoot,
}

/// One file: everything may be missing, because another file may have it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    extends: Option<PathBuf>,
    suite: Option<String>,
    #[serde(default)]
    components: Vec<String>,
    #[serde(default)]
    packages: Vec<String>,
    #[serde(default)]
    backports: Vec<String>,
    #[serde(default)]
    initramfs_modules: Vec<String>,
    #[serde(default)]
    modules: Vec<String>,
    #[serde(default)]
    sysctls: BTreeMap<String, Setting>,
    #[serde(default)]
    kernel_arguments: Vec<String>,
    #[serde(default)]
    units: Units,
    #[serde(default)]
    updates: UpdatesLayer,
    boot: Option<Boot>,
}

impl Recipe {
    /// Reads a recipe file and the files that it extends.
    pub fn read(path: &Path) -> Result<Self, RecipeError> {
        let refuse = |problem: String| RecipeError {
            path: path.to_owned(),
            problem,
        };
        let layers = layers(path)?;
        // The furthest file first, so that the nearest one wins.
        let layers = || layers.iter().rev();
        let joined = |list: fn(&Layer) -> &Vec<String>| {
            let mut all: Vec<String> = Vec::new();
            for entry in layers().flat_map(list) {
                if !all.contains(entry) {
                    all.push(entry.clone());
                }
            }
            all
        };
        let recipe = Self {
            suite: layers()
                .filter_map(|layer| layer.suite.clone())
                .next_back()
                .ok_or_else(|| refuse("`suite` is missing".to_owned()))?,
            components: joined(|layer| &layer.components),
            packages: joined(|layer| &layer.packages),
            backports: joined(|layer| &layer.backports),
            initramfs_modules: joined(|layer| &layer.initramfs_modules),
            modules: joined(|layer| &layer.modules),
            sysctls: layers().flat_map(|layer| layer.sysctls.clone()).collect(),
            kernel_arguments: joined(|layer| &layer.kernel_arguments),
            units: Units {
                enable: joined(|layer| &layer.units.enable),
                disable: joined(|layer| &layer.units.disable),
                mask: joined(|layer| &layer.units.mask),
            },
            updates: Updates {
                // Only who says so leaves holes open.
                security: layers()
                    .filter_map(|layer| layer.updates.security)
                    .next_back()
                    .unwrap_or(true),
            },
            boot: layers()
                .filter_map(|layer| layer.boot.clone())
                .next_back()
                .ok_or_else(|| refuse("`[boot]` is missing".to_owned()))?,
        };
        recipe.check().map_err(refuse)?;
        Ok(recipe)
    }

    /// Puts what is read at each boot into the tree: modules and kernel parameters.
    pub fn install(&self, tree: &mut Tree) -> Result<(), TreeError> {
        let modules = self.modules.join("\n") + "\n";
        tree.insert_file("etc/modules-load.d/gild.conf", 0o644, modules.into_bytes())?;
        let settings: Vec<String> = self
            .sysctls
            .iter()
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        let sysctls = settings.join("\n") + "\n";
        tree.insert_file("etc/sysctl.d/90-gild.conf", 0o644, sysctls.into_bytes())
    }

    /// Refuses what would break a file that is made of it, or a command line.
    fn check(&self) -> Result<(), String> {
        let lists: [(_, &[_], fn(_) -> _); 9] = [
            ("suite", std::slice::from_ref(&self.suite), is_in_a_name),
            ("components", &self.components, is_in_a_name),
            ("packages", &self.packages, is_in_a_package),
            ("backports", &self.backports, is_in_a_package),
            ("initramfs_modules", &self.initramfs_modules, is_in_a_name),
            ("modules", &self.modules, is_in_a_name),
            ("units.enable", &self.units.enable, is_in_a_unit),
            ("units.disable", &self.units.disable, is_in_a_unit),
            ("units.mask", &self.units.mask, is_in_a_unit),
        ];
        for (key, list, good) in lists {
            if let Some(bad) = list.iter().find(|entry| !is_word(entry, good)) {
                return Err(format!("`{key}` has {bad:?}, which is not a valid name"));
            }
        }
        if self.components.is_empty() {
            return Err("`components` is empty: Debian's is \"main\"".to_owned());
        }
        let graphic = |c: char| c.is_ascii_graphic();
        for argument in &self.kernel_arguments {
            if !is_word(argument, graphic) {
                return Err(format!(
                    "`kernel_arguments` has {argument:?}: give each argument as a separate entry, without spaces"
                ));
            }
            if argument.starts_with("root=") {
                return Err(format!(
                    "`kernel_arguments` has {argument:?}: the builder gives `root=`, because it makes the root partition"
                ));
            }
        }
        for (name, value) in &self.sysctls {
            if !is_word(name, |c| c.is_ascii_alphanumeric() || "._-/*".contains(c)) {
                return Err(format!("`sysctls` has {name:?}, which is not a valid name"));
            }
            if value.to_string().contains('\n') {
                return Err(format!("`sysctls`: the value of {name} has several lines"));
            }
        }
        self.boot.check(&self.kernel_arguments)
    }
}

impl Boot {
    fn check(&self, kernel_arguments: &[String]) -> Result<(), String> {
        if self.device_trees.is_empty() {
            return Err("`boot.device_trees` is empty: no board starts without one".to_owned());
        }
        let plain = |text: &str| {
            text.split('/').all(|part| {
                !part.starts_with('.') && is_word(part, |c| c.is_ascii_graphic() && c != '\\')
            })
        };
        for (name, path) in &self.device_trees {
            if !plain(name) || !plain(path) {
                return Err(format!(
                    "`boot.device_trees` has {name:?} = {path:?}, which are not both relative paths"
                ));
            }
        }
        for (name, overlay) in &self.overlays {
            if !plain(name) {
                return Err(format!(
                    "`boot.overlays` has {name:?}, which is not a relative path"
                ));
            }
            let trees = [&overlay.from, &overlay.to];
            if let Some(tree) = trees
                .into_iter()
                .find(|tree| !self.device_trees.contains_key(*tree))
            {
                return Err(format!(
                    "`boot.overlays` has {name:?} with {tree:?}, which is not in `boot.device_trees`"
                ));
            }
        }
        match (self.loader, self.config.trim().is_empty()) {
            (Loader::RaspberryPi, true) => {
                Err("`boot.config` is missing: the firmware starts nothing without it".to_owned())
            }
            (Loader::RaspberryPi, false) => self.check_config(),
            (Loader::UBoot, false) => Err(
                "`boot.config` is the Raspberry Pi's, and `boot.loader` is \"u-boot\"".to_owned(),
            ),
            (Loader::UBoot, true) => self.check_script(kernel_arguments),
        }
    }

    /// The builder adds the way back of an image on trial to `config.txt`, and the node has to find it again.
    fn check_config(&self) -> Result<(), String> {
        let marks = [trial::BEGIN, trial::END];
        let mut lines = self.config.lines().map(str::trim_end);
        match lines.find(|line| marks.contains(line)) {
            Some(mark) => Err(format!(
                "`boot.config` has the line `{mark}`, which the builder adds: leave it out"
            )),
            None => Ok(()),
        }
    }

    /// `boot.scr` is a program, and these are part of it.
    fn check_script(&self, kernel_arguments: &[String]) -> Result<(), String> {
        let mut words = kernel_arguments.iter().chain(self.device_trees.keys());
        match words.find(|word| !word.chars().all(is_plain)) {
            Some(word) => Err(format!(
                "{word:?} has a character that is special to U-Boot's shell: `boot.scr` takes letters, digits \
                 and -_.,:=/@+%~"
            )),
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// Whether a package name given on the command line can be one.
#[must_use]
pub fn is_package(name: &str) -> bool {
    is_word(name, is_in_a_package)
}

fn is_word(text: &str, good: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && !text.starts_with('-') && text.chars().all(good)
}

fn is_in_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn is_in_a_package(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.')
}

fn is_in_a_unit(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '\\' | ':')
}

/// The file and those that it extends, nearest first.
fn layers(path: &Path) -> Result<Vec<Layer>, RecipeError> {
    let mut layers = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next.take() {
        let refuse = |problem: String| RecipeError {
            path: path.clone(),
            problem,
        };
        if layers.len() == DEEPEST {
            return Err(refuse(
                "the files extend one another in a circle".to_owned(),
            ));
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|error| refuse(format!("cannot be read: {error}")))?;
        let layer: Layer = toml::from_str(&text).map_err(|error| refuse(error.to_string()))?;
        next = layer
            .extends
            .as_ref()
            .map(|other| path.parent().unwrap_or(Path::new("")).join(other));
        layers.push(layer);
    }
    Ok(layers)
}
