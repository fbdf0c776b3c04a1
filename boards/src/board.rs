//! What a board's data file says, and the checks that keep it sane.

use serde::Deserialize;

use crate::boot_firmware::BootFirmware;
use crate::cpu_id::CpuId;

/// One supported product, as its `board.toml` describes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// gild's name for the board: its folder here and its directory on the share.
    pub name: String,
    /// The device tree's `model`, for people.
    pub model: String,
    /// The device tree's `compatible`. The first entry is the board, the rest is what it shares with other boards.
    pub compatible: Vec<String>,
    /// Device trees of the kernel that fit this board, relative to the kernel's `dtb/`, preferred first.
    pub dtb: Vec<String>,
    /// What starts it, and where its boot order is.
    pub boot_firmware: BootFirmware,
    /// A newer stepping of the processor, for which the firmware changes the device tree.
    pub stepping: Option<Stepping>,
    /// Products that look like this board and are not supported.
    #[serde(default)]
    pub relatives: Vec<Relative>,
    /// Names under `/sys/class/leds`, preferred first. None of them need exist.
    pub leds: Vec<String>,
    /// Kernel modules to load, in this order. Their dependencies are computed when the initramfs is built.
    pub modules: Vec<Module>,
    /// The serial console a person plugs a cable into.
    pub console: Console,
    /// The hardware watchdog.
    pub watchdog: Watchdog,
    /// Where the flasher card sits.
    pub card: Card,
    /// Where the board's unique number is: for a lasting MAC address if the chip has none, and for the node's password.
    pub cpu_id: Option<CpuId>,
}

/// A newer stepping of a board's processor. The firmware loads the same device tree for every board, the first of
/// [`Board::dtb`], and applies an overlay to it on a board with this stepping.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stepping {
    /// The kernel's device tree for this stepping, one of [`Board::dtb`]: the overlay is made from it.
    pub dtb: String,
    /// The vendor's name for that device tree.
    pub vendor_dtb: String,
    /// The overlay that the firmware applies, by its path on the boot partition.
    pub overlay: String,
    /// An entry of a device's `compatible` that only this stepping's device tree has: it distinguishes the two trees.
    pub compatible: String,
}

/// A product that is easily confused with a supported board.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relative {
    /// The entry of its device tree's `compatible` that is this product and no other.
    pub compatible: String,
    /// Its name, for people.
    pub model: String,
}

/// A kernel module and the reason it is needed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// Its name as in `lsmod`.
    pub name: String,
    /// What would not work without it.
    pub why: String,
}

/// A serial console.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Console {
    /// Device name under `/dev`.
    pub device: String,
    /// Bits per second.
    pub baud: u32,
}

/// A hardware watchdog.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watchdog {
    /// Its kernel module, which is also one of the board's [`Board::modules`].
    pub module: String,
}

/// Hints that distinguish the flasher card's slot from other storage. Hints only: a virtual board has another controller.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Name of the SD controller's device: a component of the card's path under `/sys/devices`.
    pub controller: String,
}

impl Board {
    /// The `compatible` entry that is this board and no other.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.compatible[0]
    }

    /// The file name of the device tree that the board's firmware loads.
    #[must_use]
    pub fn base_dtb(&self) -> &str {
        file_name(&self.dtb[0])
    }

    /// The file of the initramfs that lists the board's modules, one path a line, in the order to load them.
    #[must_use]
    pub fn module_list(&self) -> String {
        format!("etc/gild/modules/{}", self.name)
    }

    /// Reads one data file and checks every field of it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let board: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        board.check()?;
        Ok(board)
    }

    fn check(&self) -> Result<(), String> {
        let name_is = |good: fn(char) -> bool, what: &str, name: &str| match name {
            "" => Err(format!("{what} is empty")),
            _ if name.chars().all(good) => Ok(()),
            _ => Err(format!(
                "{what} `{name}` has a character that is not allowed there"
            )),
        };
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let printable = |c: char| c.is_ascii_graphic();
        name_is(word, "name", &self.name)?;
        name_is(|c| c == ' ' || c.is_ascii_graphic(), "model", &self.model)?;
        for (what, list) in [
            ("compatible", &self.compatible),
            ("dtb", &self.dtb),
            ("leds", &self.leds),
        ] {
            if list.is_empty() {
                return Err(format!("{what} lists nothing"));
            }
            for entry in list {
                name_is(printable, what, entry)?;
            }
        }
        if let Some(path) = self.dtb.iter().find(|path| !is_plain_dtb_path(path)) {
            return Err(format!(
                "dtb `{path}` is not a relative path to a .dtb file"
            ));
        }
        if let Some(stepping) = &self.stepping {
            if !self.dtb[1..].contains(&stepping.dtb) {
                return Err(format!(
                    "stepping.dtb `{}` is not one of dtb after the first",
                    stepping.dtb
                ));
            }
            name_is(printable, "stepping.vendor_dtb", &stepping.vendor_dtb)?;
            name_is(printable, "stepping.overlay", &stepping.overlay)?;
            name_is(printable, "stepping.compatible", &stepping.compatible)?;
        }
        for relative in &self.relatives {
            name_is(printable, "relatives.compatible", &relative.compatible)?;
            let is_text = |c: char| c == ' ' || c.is_ascii_graphic();
            name_is(is_text, "relatives.model", &relative.model)?;
            if self.compatible.contains(&relative.compatible) {
                return Err(format!(
                    "relatives.compatible `{}` is the board's own",
                    relative.compatible
                ));
            }
        }
        for (position, module) in self.modules.iter().enumerate() {
            name_is(word, "module", &module.name)?;
            if module.why.is_empty() {
                return Err(format!("module `{}` does not say why", module.name));
            }
            if self.modules[..position]
                .iter()
                .any(|earlier| earlier.name == module.name)
            {
                return Err(format!("module `{}` is listed twice", module.name));
            }
        }
        name_is(
            |c| c.is_ascii_alphanumeric(),
            "console.device",
            &self.console.device,
        )?;
        if !(9600..=4_000_000).contains(&self.console.baud) {
            return Err(format!(
                "console.baud {} is not a serial speed",
                self.console.baud
            ));
        }
        if !self
            .modules
            .iter()
            .any(|module| module.name == self.watchdog.module)
        {
            return Err(format!(
                "watchdog.module `{}` is not among the modules",
                self.watchdog.module
            ));
        }
        name_is(printable, "card.controller", &self.card.controller)?;
        match &self.cpu_id {
            Some(cpu_id) => name_is(printable, "cpu_id", cpu_id.name()),
            None => Ok(()),
        }
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_plain_dtb_path(path: &str) -> bool {
    path.strip_suffix(".dtb")
        .is_some_and(|stem| stem.split('/').all(|part| !matches!(part, "" | "." | "..")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "board1"
        model = "A Board"
        compatible = ["vendor,board1", "vendor,soc"]
        boot_firmware = "rpi-eeprom"
        dtb = ["vendor/board1.dtb", "vendor/board1-new.dtb"]
        stepping = { dtb = "vendor/board1-new.dtb", vendor_dtb = "b1new.dtb", overlay = "b1new.dtbo", compatible = "vendor,new-pins" }
        relatives = [{ compatible = "vendor,board2", model = "Another Board" }]
        leds = ["status"]
        modules = [{ name = "some_wdt", why = "watchdog" }, { name = "nvme", why = "target" }]
        console = { device = "ttyS0", baud = 115200 }
        watchdog = { module = "some_wdt" }
        card = { controller = "1000.mmc" }
    "#;

    #[test]
    fn a_mistake_in_the_data_is_found_and_named() {
        Board::parse(GOOD).expect("the data before the mistake");
        for (right, wrong, complaint) in [
            ("\"board1\"", "\"Board 1\"", "name `Board 1`"),
            ("\"A Board\"", "\"\"", "model is empty"),
            (
                "[\"vendor,board1\", \"vendor,soc\"]",
                "[]",
                "compatible lists nothing",
            ),
            ("\"rpi-eeprom\"", "\"uefi\"", "unknown variant `uefi`"),
            ("vendor/board1.dtb", "../board1.dtb", "not a relative path"),
            (
                "vendor/board1.dtb",
                "vendor/board1.dts",
                "not a relative path",
            ),
            (
                "{ dtb = \"vendor/board1-new.dtb\"",
                "{ dtb = \"vendor/board1.dtb\"",
                "stepping.dtb `vendor/board1.dtb`",
            ),
            ("b1new.dtbo", "", "stepping.overlay is empty"),
            ("vendor,new-pins", "", "stepping.compatible is empty"),
            ("vendor,board2", "vendor,board1", "is the board's own"),
            ("Another Board", "", "relatives.model is empty"),
            ("[\"status\"]", "[]", "leds lists nothing"),
            ("\"nvme\"", "\"irq-mip\"", "module `irq-mip`"),
            ("\"nvme\"", "\"some_wdt\"", "listed twice"),
            ("\"target\"", "\"\"", "does not say why"),
            ("ttyS0", "/dev/ttyS0", "console.device"),
            ("115200", "15", "not a serial speed"),
            (
                "module = \"some_wdt\"",
                "module = \"other_wdt\"",
                "not among the modules",
            ),
            ("1000.mmc", "", "card.controller is empty"),
            ("controller =", "controllers =", "unknown field"),
        ] {
            let text = GOOD.replacen(right, wrong, 1);
            assert_ne!(text, GOOD, "{right} is not in the data");
            let error = Board::parse(&text).expect_err(wrong);
            assert!(error.contains(complaint), "{wrong}: {error}");
        }
    }
}
