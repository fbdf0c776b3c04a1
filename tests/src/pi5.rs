//! The firmware of the Raspberry Pi 5, which the harness plays at each start: its ROM, its EEPROM's boot order, and what it reads from the
//! medium that it starts.
//!
//! Simulated: all of that, from the vendor's documentation. Real: the files that it reads from the file systems of card and disk, and what
//! they start.

use anyhow::{Context, Result, bail};

use crate::board_dtb::Product;
use crate::firmware::{self, Revision};
use crate::scene::Scene;
use crate::virtual_board::{Boot, VirtualBoard};

/// Digits of `BOOT_ORDER`, tried from the lowest.
const CARD: u32 = 0x1;
const NVME: u32 = 0x6;

/// What the firmware has started from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// The card.
    Card,
    /// The disk.
    Nvme,
}

/// The firmware of one board.
#[derive(Debug, Default)]
pub struct Pi5 {
    /// The stepping of its processor. It is that of a new board, unless a test says otherwise.
    pub revision: Revision,
    /// The order for one restart, which `config.txt` on the last medium asked for.
    reboot_order: Option<u32>,
}

impl Pi5 {
    /// Applies power.
    pub fn power_on(&mut self, scene: &mut Scene) -> Result<(Medium, VirtualBoard)> {
        self.reboot_order = None;
        self.restart(scene)
    }

    /// Starts again after a restart that the running system asked for.
    pub fn restart(&mut self, scene: &mut Scene) -> Result<(Medium, VirtualBoard)> {
        let (medium, boot) = self.choose(scene)?;
        Ok((medium, scene.hardware.power_on(&boot)?))
    }

    fn choose(&mut self, scene: &mut Scene) -> Result<(Medium, Boot)> {
        let eeprom = scene.hardware.eeprom.as_mut().context("an EEPROM")?;
        if scene.hardware.card.is_some() {
            // An update ends with its own restart, and that forgets the order for one restart.
            while eeprom.start(&scene.card)? {
                self.reboot_order = None;
            }
        }
        let asked = self.reboot_order.take();
        let asked = asked.filter(|_| eeprom.knows_reboot_order());
        let order = asked.unwrap_or(eeprom.boot_order()?.0);
        for digit in (0..8).map(|place| order >> (4 * place) & 0xf) {
            let (medium, disk) = match digit {
                CARD => (Medium::Card, scene.hardware.card.clone()),
                NVME => (Medium::Nvme, Some(scene.nvme())),
                // No medium is connected there. 0xf starts the order again, with the same media.
                _ => continue,
            };
            let Some(disk) = disk else { continue };
            let Ok(mut boot) = firmware::files_on_disk(Product::Rpi5, &disk, scene.path()) else {
                continue;
            };
            // Once the firmware has started a kernel, it does not look at another medium, even if the kernel dies.
            firmware::start_tree(self.revision, &disk, scene.path())?;
            boot.command_line = firmware::on_qemu(&boot.command_line, "quiet");
            let config = firmware::file_in_boot_partition(Product::Rpi5, &disk, "config.txt")?;
            self.reboot_order = reboot_order(&config)?;
            return Ok((medium, boot));
        }
        bail!("with the order {order:#x} the board finds nothing to start")
    }
}

fn reboot_order(config: &str) -> Result<Option<u32>> {
    let line = config
        .lines()
        .find_map(|line| line.strip_prefix("set_reboot_order=0x"));
    let order = line.map(|digits| u32::from_str_radix(digits.trim(), 16));
    order.transpose().context("set_reboot_order in config.txt")
}
