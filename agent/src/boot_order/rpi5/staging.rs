//! An update on the card, where the ROM looks for it: put there, looked at, and removed.

use gild_card_format::names::{RECOVERY, RECOVERY_BEFORE, SIG, UPD};
use log::{info, warn};

use super::ATTEMPTS;
use super::count::Count;
use super::running::Running;
use super::update::Update;
use crate::boot_order::{BootOrder, BootOrderError, Job};

/// Puts the update where the ROM looks for it.
pub fn stage(
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

/// Says what the update on the card will change.
pub fn staged(job: &Job, update: &Update) -> BootOrder {
    update
        .changes
        .iter()
        .for_each(|change| (job.changed)(change.clone()));
    BootOrder::Staged
}

/// Whether what the ROM will take is all there, and is this update.
pub fn is_staged(job: &Job, update: &Update) -> Result<bool, BootOrderError> {
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
pub fn was_cut(job: &Job) -> Result<bool, BootOrderError> {
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

/// Removes what is left of an update, where nothing depends on it.
pub fn tidy(job: &Job) {
    if let Err(error) = remove_leftovers(job, &[]) {
        warn!("files of an EEPROM update are left on the card: {error}");
    }
}
