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
    // Counted before the ROM can take it: otherwise an update that fails would be tried forever.
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

/// Whether everything that the ROM will take is there, and belongs to this update.
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

/// Whether the power was cut after the attempt was counted and before the ROM could see it. A cut just before the count looks the same, and
/// so does another board's file on this card. In both cases one more attempt is allowed.
pub fn was_cut(job: &Job) -> Result<bool, BootOrderError> {
    let names = job.card.names()?;
    let has = |known: &str| names.iter().any(|name| name.eq_ignore_ascii_case(known));
    Ok(has(RECOVERY_BEFORE) && !has(RECOVERY))
}

/// Removes what an earlier update left in the root, `recovery.bin` first. The files in `keep` stay, because they are replaced as a whole.
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

/// Removes the rest of an update on which nothing depends.
pub fn tidy(job: &Job) {
    if let Err(error) = remove_leftovers(job, &[]) {
        warn!("files of an EEPROM update are left on the card: {error}");
    }
}
