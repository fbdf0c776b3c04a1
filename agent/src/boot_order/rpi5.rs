//! Raspberry Pi 5: the boot order is in the EEPROM, and the boot ROM is the one who writes it.
//!
//! The ROM looks for `recovery.bin` on the card before it looks at the EEPROM. Staged there, it writes `pieeprom.upd`,
//! renames itself and restarts the board; if the power goes before it is done, it is found again. So the update is
//! safe at every moment, and the agent touches files only, `recovery.bin` last.

use std::fs;
use std::path::Path;

use gild_boards::rpi_eeprom::{
    BootOrder as Order, Chip, Image, PCIE_PROBE, Signature, changes, day, get_key, with_nvme_first,
};
use gild_card_format::names::{EEPROM_FILES, RECOVERY, RECOVERY_BEFORE, SIG, UPD, eeprom_count};
use log::{info, warn};

use super::nor::compatible;
use super::{BootOrder, BootOrderError, Firmware, Job, Standing, firmware};
use crate::card::Card;

/// Updates that are staged for one image before it is given up.
const ATTEMPTS: u32 = 2;
/// The node of the device tree behind which the firmware shows its configuration.
const CONFIG_NODE: &str = "raspberrypi,bootloader-config";

const BY_HAND: &str =
    "set BOOT_ORDER=0xf416 in the EEPROM by hand (rpi-eeprom-config), or take the card out";
const NEWER: &str =
    "make the card again with the newest pieeprom-*.bin and recovery.bin for the BCM2712";

/// What the running firmware says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// When it was built: its version.
    pub build: Option<u32>,
    /// The time in the `.sig` of the last update.
    pub update: Option<u32>,
    /// Whether secure boot is on.
    pub is_signed: bool,
    /// The least version that the board's parts ask for.
    pub least_version: u32,
    /// Its configuration, if the firmware shows one.
    pub config: Option<Vec<u8>>,
    /// The name of this start of the kernel: no two starts have the same.
    pub start: Option<String>,
}

impl Running {
    /// What the firmware of the board says that the agent runs on.
    fn of_this_board() -> Self {
        Self::read(Path::new("/proc"), Path::new("/sys"))
    }

    /// Reads it from the device tree, and the configuration from the memory that the firmware left it in.
    pub fn read(proc: &Path, sys: &Path) -> Self {
        let chosen = proc.join("device-tree/chosen");
        let number = |name: &str| {
            let bytes = fs::read(chosen.join(name)).ok()?;
            Some(u32::from_be_bytes(*bytes.first_chunk()?))
        };
        let config = fs::read_dir(sys.join("bus/nvmem/devices"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .find(|device| compatible(device).iter().any(|entry| entry == CONFIG_NODE))
            .and_then(|device| fs::read(device.join("nvmem")).ok())
            .and_then(|memory| text_in(&memory));
        Self {
            build: number("bootloader/build-timestamp"),
            update: number("bootloader/update-timestamp"),
            is_signed: number("bootloader/signed").is_some_and(|signed| signed != 0),
            least_version: number("rpi-min-boot-ver").unwrap_or(0),
            config,
            start: fs::read_to_string(proc.join("sys/kernel/random/boot_id"))
                .map(|text| text.trim().to_owned())
                .ok()
                .filter(|name| !name.is_empty()),
        }
    }
}

/// The text in this memory, without what fills it up: any byte but the zero byte may belong to it.
fn text_in(memory: &[u8]) -> Option<Vec<u8>> {
    let text = memory.split(|byte| *byte == 0).next()?;
    let last = text.iter().rposition(|byte| *byte != 0xff)?;
    let text = &text[..=last];
    (!text.trim_ascii().is_empty()).then(|| text.to_vec())
}

/// The three files that make an update.
struct Update {
    upd: Vec<u8>,
    sig: Vec<u8>,
    recovery: Vec<u8>,
    /// The time by which the firmware reports it done.
    time: u32,
    /// Whether its firmware takes the order of a restart from what it has started.
    knows_reboot_order: bool,
    /// What it changes, for people.
    changes: Vec<String>,
}

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

/// Stages the update, unless the order is right already. The device tree says what the ROM made of an earlier one.
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
        // One that was staged before, for another board or before this was known, must not be taken either.
        .inspect_err(|_| tidy(job))?;
    if !job.is_boot_medium {
        return Err(BootOrderError::not_possible(
            "the card is not in the board's slot, where the board's ROM would look for the update",
            "put the card into the board's slot",
        ));
    }
    match config {
        // The update holds the right one.
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
    // Only a restart lets the ROM try: what was counted since the last one is one attempt. One that it could not see is none.
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
        // Nothing may be left that the ROM takes and nobody has read back.
        tidy(job);
    }
    outcome
}

/// Whether the board cannot start a disk on trial without the update: firmware that takes no order of a restart from the card
/// comes back to the card, and so does one that does not find the disk. With the update a start that fails leads back to the card
/// all the same, because the image's own `config.txt` asks for that, if the update's firmware is new enough to know it.
fn needs_update_to_start(running: &Running, update: &Update, lacks_probe: bool) -> bool {
    update.knows_reboot_order && (lacks_probe || !knows_reboot_order(running.build))
}

/// Firmware of the Raspberry Pi 5 does since January 2025.
fn knows_reboot_order(build: Option<u32>) -> bool {
    const SINCE: u32 = 1_736_812_800;
    build.is_some_and(|build| build >= SINCE)
}

fn probes(config: &[u8]) -> bool {
    get_key(config, PCIE_PROBE.0) == Some(PCIE_PROBE.1.as_bytes())
}

/// What is said where nothing can be changed. An order with the disk first starts the disk, whatever comes after it.
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

impl Update {
    /// Refuses files that must not get into the EEPROM of a board with this firmware.
    fn check(
        upd: Vec<u8>,
        sig: Vec<u8>,
        recovery: Vec<u8>,
        running: &Running,
        allow_older: bool,
    ) -> Result<Self, BootOrderError> {
        if running.is_signed {
            return Err(BootOrderError::not_possible(
                "the board has secure boot: only a signed EEPROM image may be written",
                "have the boot order set by who holds the signing key, or take the card out",
            ));
        }
        let (mut image, time) = whole(upd, &sig)?;
        is_for_this_board(&image, running)?;
        is_new_enough(&image, running, allow_older)?;
        let (sig, mut changes) = match &running.config {
            Some(config) => {
                let (sig, config) = keep_settings(&mut image, config, time)?;
                (sig.into_bytes(), config)
            }
            None => (
                sig,
                vec!["all settings are replaced by those of the image on the card".to_owned()],
            ),
        };
        if let (Some(new), Some(old)) = (image.build_timestamp(), running.build)
            && new != old
        {
            changes.push(format!("firmware built {} -> {}", day(old), day(new)));
        }
        Ok(Self {
            knows_reboot_order: knows_reboot_order(image.build_timestamp()),
            upd: image.bytes().to_vec(),
            sig,
            recovery,
            time,
            changes,
        })
    }
}

fn unusable(reason: String) -> BootOrderError {
    BootOrderError::not_possible(reason, NEWER)
}

/// The image, if the signature on the card is its own, and the time by which the firmware reports it done.
fn whole(upd: Vec<u8>, sig: &[u8]) -> Result<(Image, u32), BootOrderError> {
    let signature = str::from_utf8(sig)
        .map_err(|_| unusable(format!("{SIG} on the card is not text")))
        .and_then(|text| {
            Signature::parse(text).map_err(|error| unusable(format!("{SIG}: {error}")))
        })?;
    let time = signature
        .timestamp
        .filter(|_| signature.matches(&upd))
        .ok_or_else(|| unusable(format!("{SIG} on the card is not that of {UPD}")))?;
    let image = Image::parse(upd)
        .map_err(|error| unusable(format!("{UPD} on the card cannot be used: {error}")))?;
    Ok((image, time))
}

/// Refuses an image for another chip, one that would not start the disk, and one that this board's parts cannot run.
fn is_for_this_board(image: &Image, running: &Running) -> Result<(), BootOrderError> {
    if image.chip() != Chip::Bcm2712 {
        let chip = image.chip().name();
        return Err(unusable(format!("{UPD} on the card is for the {chip}")));
    }
    let config = image
        .config()
        .map_err(|error| unusable(format!("{UPD} on the card: {error}")))?;
    if !Order::of(config).is_some_and(Order::is_nvme_first) {
        return Err(unusable(format!(
            "{UPD} on the card does not have the NVMe disk first"
        )));
    }
    let version = image.mfg_version().unwrap_or(0);
    if version < running.least_version {
        return Err(unusable(format!(
            "{UPD} on the card has the version {version}, and this board asks for {} at least",
            running.least_version
        )));
    }
    Ok(())
}

/// Refuses an image that is older than the board's firmware, or may be, unless that is allowed.
fn is_new_enough(
    image: &Image,
    running: &Running,
    allow_older: bool,
) -> Result<(), BootOrderError> {
    match (image.build_timestamp(), running.build) {
        (Some(new), Some(old)) if new >= old || allow_older => Ok(()),
        (Some(new), Some(old)) => Err(unusable(format!(
            "{UPD} on the card, built {new}, is older than the board's firmware, built {old} (seconds since 1970)"
        ))),
        (None, _) => Err(unusable(format!(
            "{UPD} on the card does not say when it was built"
        ))),
        (Some(_), None) if allow_older => Ok(()),
        (Some(_), None) => Err(BootOrderError::not_possible(
            "the board's firmware does not say when it was built, so that the one on the card may be older",
            BY_HAND,
        )),
    }
}

/// Gives the image the board's own configuration, with the disk first; gives the new `.sig`, and what is changed. Its time
/// stays, because by that the update is known to be done.
fn keep_settings(
    image: &mut Image,
    old: &[u8],
    time: u32,
) -> Result<(String, Vec<String>), BootOrderError> {
    let lost = |problem: String| {
        BootOrderError::not_possible(
            format!("the board's own EEPROM settings would be lost: {problem}"),
            BY_HAND,
        )
    };
    let new = with_nvme_first(old).map_err(|error| lost(error.to_string()))?;
    image
        .set_config(&new)
        .map_err(|error| lost(error.to_string()))?;
    let sig = Signature::of(image.bytes(), time).to_text();
    Ok((sig, changes(old, &new)))
}

/// Puts the update where the ROM looks for it.
fn stage(
    job: &Job,
    update: &Update,
    attempt: u32,
    running: &Running,
) -> Result<BootOrder, BootOrderError> {
    remove_leftovers(job, &[RECOVERY_BEFORE])?;
    for (name, content) in [
        (UPD, &update.upd),
        (SIG, &update.sig),
        (RECOVERY_BEFORE, &update.recovery),
    ] {
        (job.alive)();
        job.card.write(name, content)?;
        check(job, name, content)?;
    }
    // Before the ROM can take it: an update that fails and is not counted would be tried forever.
    let count = Count {
        attempts: attempt,
        start: running.start.clone(),
    };
    count.write(job, update.time)?;
    job.card.rename(RECOVERY_BEFORE, RECOVERY)?;
    check(job, RECOVERY, &update.recovery)?;
    info!("the update of the EEPROM is on the card, attempt {attempt} of {ATTEMPTS}");
    Ok(staged(job, update))
}

fn staged(job: &Job, update: &Update) -> BootOrder {
    update
        .changes
        .iter()
        .for_each(|change| (job.changed)(change.clone()));
    BootOrder::Staged
}

/// Whether what the ROM will take is all there, and is this update.
fn is_staged(job: &Job, update: &Update) -> Result<bool, BootOrderError> {
    for (name, content) in [
        (UPD, &update.upd),
        (SIG, &update.sig),
        (RECOVERY, &update.recovery),
    ] {
        (job.alive)();
        if job.card.read(name)?.as_ref() != Some(content) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn check(job: &Job, name: &str, content: &[u8]) -> Result<(), BootOrderError> {
    if job.card.read(name)?.as_deref() == Some(content) {
        return Ok(());
    }
    Err(BootOrderError::failed(format!(
        "{name} reads back from the card differently from what was written"
    )))
}

/// Whether the power was cut after the attempt was counted and before the ROM could see it. A cut just before
/// the count, and another board's file on this card, look the same: each allows one attempt more.
fn was_cut(job: &Job) -> Result<bool, BootOrderError> {
    let names = job.card.names()?;
    let has = |known: &str| names.iter().any(|name| name.eq_ignore_ascii_case(known));
    Ok(has(RECOVERY_BEFORE) && !has(RECOVERY))
}

/// Removes what an earlier update left in the root, `recovery.bin` first, except for these files, which are replaced whole.
fn remove_leftovers(job: &Job, keep: &[&str]) -> Result<(), BootOrderError> {
    let mut names = job.card.names()?;
    names.sort_by_key(|name| !name.eq_ignore_ascii_case(RECOVERY));
    for name in names {
        let lower = name.to_ascii_lowercase();
        let is_left = lower.starts_with("recovery.") || lower.starts_with("pieeprom.");
        if is_left && !keep.contains(&&*lower) {
            job.card.remove(&name)?;
        }
    }
    Ok(())
}

/// The same, where nothing depends on it.
fn tidy(job: &Job) {
    if let Err(error) = remove_leftovers(job, &[]) {
        warn!("files of an EEPROM update are left on the card: {error}");
    }
}

/// The order is right. Should somebody change it, the count begins at nothing.
fn done(job: &Job) -> BootOrder {
    tidy(job);
    let count = eeprom_count(&job.id);
    let is_counted = job.card.names().is_ok_and(|names| names.contains(&count));
    if is_counted && let Err(error) = job.card.remove(&count) {
        warn!("{count} is left on the card: {error}");
    }
    BootOrder::AlreadyRight
}

/// How often an update has been staged for this board, once for each restart that the ROM has had to take it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Count {
    attempts: u32,
    /// The start of the kernel in which the last one was staged. Cards of earlier agents do not have it.
    start: Option<String>,
}

impl Count {
    fn read(job: &Job, time: u32) -> Result<Self, BootOrderError> {
        let text = job.card.read(&eeprom_count(&job.id))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let value = |key: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        };
        if value("update") != Some(time.to_string().as_str()) {
            return Ok(Self::default());
        }
        Ok(Self {
            attempts: value("attempts")
                .and_then(|attempts| attempts.parse().ok())
                .unwrap_or(0),
            start: value("boot_id").map(str::to_owned),
        })
    }

    fn write(&self, job: &Job, time: u32) -> Result<(), BootOrderError> {
        let start = self.start.as_ref();
        let start = start.map_or_else(String::new, |start| format!("boot_id={start}\n"));
        let text = format!("update={time}\nattempts={}\n{start}", self.attempts);
        Ok(job.card.write(&eeprom_count(&job.id), text.as_bytes())?)
    }
}

#[cfg(test)]
mod tests;
