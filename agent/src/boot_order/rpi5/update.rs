//! An update of the EEPROM: the files on the card that it consists of, and the checks whether this board may get it.

use gild_boards::rpi_eeprom::{
    BootOrder as Order, Chip, Image, Signature, changes, day, with_nvme_first,
};
use gild_card_format::names::{SIG, UPD};

use super::BY_HAND;
use super::running::{Running, knows_reboot_order};
use crate::boot_order::BootOrderError;

const NEWER: &str =
    "make the card again with the newest pieeprom-*.bin and recovery.bin for the BCM2712";

/// The three files that make an update.
pub struct Update {
    pub upd: Vec<u8>,
    pub sig: Vec<u8>,
    pub recovery: Vec<u8>,
    /// The time by which the firmware reports that it is done.
    pub time: u32,
    /// Whether its firmware takes the order for one restart from the system that it started.
    pub knows_reboot_order: bool,
    /// What it changes, for people.
    pub changes: Vec<String>,
}

impl Update {
    /// Refuses files that must not get into the EEPROM of a board with this firmware.
    pub fn check(
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

/// The image, if the signature on the card belongs to it, and the time that the firmware reports once the update is done.
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

/// Puts the board's own configuration into the image, with the disk first. Returns the new `.sig` and what changes. The image keeps its
/// time, because that time shows that the update is done.
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
