//! Raspberry Pi 5: the boot order is in the EEPROM, and only the boot ROM writes it.
//!
//! The ROM looks for `recovery.bin` on the card before it looks at the EEPROM. If that file is there, it writes `pieeprom.upd`, renames
//! itself and restarts the board. If the power goes before it is done, the ROM finds it again. So the update is safe at every moment, and
//! the agent only writes files, `recovery.bin` last.

mod count;
mod running;
mod staging;
mod update;

use gild_boards::rpi_eeprom::{BootOrder as Order, PCIE_PROBE, get_key};
use gild_card_format::names::{EEPROM_FILES, eeprom_count};
use log::{info, warn};

use super::{BootOrder, BootOrderError, Firmware, Job, Standing, firmware};
use crate::card::Card;
use count::Count;
use running::{Running, knows_reboot_order};
use staging::{is_staged, stage, staged, tidy, was_cut};
use update::Update;

/// After this many updates have been staged for one image, the agent gives up.
const ATTEMPTS: u32 = 2;
const BY_HAND: &str =
    "set BOOT_ORDER=0xf416 in the EEPROM by hand (rpi-eeprom-config), or take the card out";

/// The EEPROM of the board that the agent runs on.
pub struct Eeprom;

impl Firmware for Eeprom {
    fn set(&self, job: &Job, _: &Card) -> Result<BootOrder, BootOrderError> {
        set(job, &Running::of_this_board())
    }

    fn runs_script(&self) -> bool {
        false
    }

    fn knows_reboot_order(&self) -> bool {
        knows_reboot_order(Running::of_this_board().build)
    }
}

/// Stages the update, unless the order is already right. The device tree shows what the ROM did with an earlier one.
pub fn set(job: &Job, running: &Running) -> Result<BootOrder, BootOrderError> {
    let config = running.config.as_deref();
    let order = config.and_then(Order::of);
    if let Some(order) = order {
        info!("boot order in the EEPROM: {order}");
    }
    let finds_the_card = order.is_some_and(Order::is_nvme_then_card);
    let lacks_probe = job.standing.came_back() && !probes(config.unwrap_or_default());
    if finds_the_card && !lacks_probe {
        return Ok(done(job));
    }
    let Some([upd, sig, recovery]) = firmware::read(job.card, EEPROM_FILES)? else {
        return without_files(job, order, lacks_probe);
    };
    let update = Update::check(upd, sig, recovery, running, job.policy.allow_older)
        // An update that was staged earlier must not be written either. It may be for another board, or from a time when this was not
        // known.
        .inspect_err(|_| tidy(job))?;
    if !job.is_boot_medium {
        return Err(BootOrderError::not_possible(
            "the card is not in the board's slot, where the board's ROM would look for the update",
            "put the card into the board's slot",
        ));
    }
    match config {
        // The last update that the ROM wrote is this one, and it has the right order.
        None if running.update == Some(update.time) => return Ok(done(job)),
        None if !job.policy.replace_settings => {
            tidy(job);
            return Err(BootOrderError::not_possible(
                "the board's firmware does not show its EEPROM settings, and all of them would be replaced by those of the image on the card",
                "set BOOT_ORDER=0xf416 in the EEPROM by hand (rpi-eeprom-config); or, if the board has no settings of its own, write boot_order.replace_settings = true into gild.toml",
            ));
        }
        Some(_) if running.update == Some(update.time) => {
            return Err(BootOrderError::not_possible(
                "the EEPROM holds the image on the card, and its settings are other ones",
                BY_HAND,
            ));
        }
        _ => {}
    }
    let is_needed = needs_update_to_start(running, &update, lacks_probe);
    if !job.standing.is_proven() && (job.standing == Standing::Planned || !is_needed) {
        tidy(job);
        return Err(BootOrderError::waits());
    }
    let count = Count::read(job, update.time)?;
    let is_of_this_start = running.start.is_some() && count.start == running.start;
    if is_of_this_start && is_staged(job, &update)? {
        info!("the update of the EEPROM is on the card already, and waits for a restart");
        return Ok(staged(job, &update));
    }
    // The ROM tries only at a restart. So everything that was staged since the last restart is one attempt. An attempt that the ROM could
    // not see does not count.
    let is_same = is_of_this_start || (count.attempts > 0 && was_cut(job)?);
    let attempt = count.attempts + u32::from(!is_same);
    if attempt > ATTEMPTS {
        tidy(job);
        return Err(BootOrderError::not_possible(
            format!(
                "the EEPROM was not updated by the board's ROM in {ATTEMPTS} attempts (recovery.bin on the card), or was changed back"
            ),
            "make the card again with the newest recovery.bin for the BCM2712, or set BOOT_ORDER=0xf416 by hand; gild-<mac>.eeprom on the card counts the attempts",
        ));
    }
    let outcome = stage(job, &update, attempt, running);
    if outcome.is_err() {
        // The ROM must not find an update that the agent has not read back.
        tidy(job);
    }
    outcome
}

/// Whether the board cannot start a disk on trial without the update. That is so if the card cannot give its firmware an order for one
/// restart, or if the firmware does not find the disk: then the board comes back to the card. After the update, a failed start still leads
/// back to the card if the update's firmware is new enough, because the image's own `config.txt` asks for that.
fn needs_update_to_start(running: &Running, update: &Update, lacks_probe: bool) -> bool {
    update.knows_reboot_order && (lacks_probe || !knows_reboot_order(running.build))
}

fn probes(config: &[u8]) -> bool {
    get_key(config, PCIE_PROBE.0) == Some(PCIE_PROBE.1.as_bytes())
}

/// The outcome if nothing can be changed. If the disk is first in the order, the disk starts, whatever comes after it.
fn without_files(
    job: &Job,
    order: Option<Order>,
    lacks_probe: bool,
) -> Result<BootOrder, BootOrderError> {
    if !order.is_some_and(Order::is_nvme_first) {
        return Err(BootOrderError::known(
            "the card has no firmware files for the EEPROM of the Raspberry Pi 5",
            "make the card with --rpi-eeprom and --rpi-recovery, or set BOOT_ORDER=0xf416 by hand, or take the card out when the disk is done",
        ));
    }
    if lacks_probe {
        return Err(BootOrderError::known(
            "the board did not start its finished disk, perhaps because its EEPROM has no PCIE_PROBE=1, which the firmware needs for an adapter that is not a HAT+; and the card has no firmware files",
            "make the card with --rpi-eeprom and --rpi-recovery, or set PCIE_PROBE=1 in the EEPROM by hand (rpi-eeprom-config)",
        ));
    }
    if !order.is_some_and(Order::is_nvme_then_card) {
        warn!(
            "BOOT_ORDER has no SD card after the NVMe disk: a board whose disk does not start will not look at a card"
        );
    }
    Ok(done(job))
}

/// The order is right. If somebody changes it later, the count starts at zero.
fn done(job: &Job) -> BootOrder {
    tidy(job);
    let count = eeprom_count(&job.id);
    let is_counted = job.card.names().is_ok_and(|names| names.contains(&count));
    if is_counted && let Err(error) = job.card.remove(&count) {
        warn!("{count} is left on the card: {error}");
    }
    BootOrder::AlreadyRight
}

#[cfg(test)]
mod tests;
