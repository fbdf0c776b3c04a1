//! Keeps on the card what a flash held before it was changed. The operator and the attempt after a power cut need it.

use gild_card_format::names::{BACKUP, PACKED_BACKUP};
use log::info;
use sha2::{Digest, Sha256};

use super::mark::{self, What};
use super::packed::{pack, unpack};
use super::{BootOrderError, Job};

/// Keeps the content of a boot flash. Each content has its own file. A content that cannot start the board is kept only if there is no
/// backup yet, because a power cut may have made it from the content that is already kept.
pub fn of_flash(
    job: &Job,
    content: &[u8],
    serial: &str,
    starts: bool,
) -> Result<(), BootOrderError> {
    if content.iter().all(|byte| *byte == 0xff) {
        return Ok(());
    }
    let kept = flashes(job, serial)?;
    if !starts && !kept.is_empty() {
        return Ok(());
    }
    let digest = hex::encode(Sha256::digest(content));
    let name = format!("{}-{}", What::Flash.stem(serial), &digest[..8]);
    let unpacked = format!("{name}{BACKUP}");
    if kept.contains(&unpacked) && job.card.read(&unpacked)?.as_deref() == Some(content) {
        return Ok(());
    }
    (job.alive)();
    keep(
        job,
        &format!("{name}{PACKED_BACKUP}"),
        &pack(content),
        |file| unpack(file, content.len()).is_ok_and(|unpacked| unpacked == content),
    )
}

/// What the boot flash held before an unfinished change by this program, as far as the card can say: `None`, or one of the backups.
pub fn flash_before(
    job: &Job,
    size: usize,
    serial: &str,
) -> Result<Option<Vec<u8>>, BootOrderError> {
    if !mark::is_there(job, What::Flash, serial)? {
        return Ok(None);
    }
    let is_it = |content: &Vec<u8>| mark::is_of(job, What::Flash, serial, content);
    let empty = vec![0xff; size];
    if is_it(&empty)? {
        return Ok(Some(empty));
    }
    for name in flashes(job, serial)? {
        (job.alive)();
        let file = job.card.read(&name)?.unwrap_or_default();
        let content = if name.ends_with(PACKED_BACKUP) {
            unpack(&file, size).unwrap_or_default()
        } else {
            file
        };
        if content.len() == size && is_it(&content)? {
            return Ok(Some(content));
        }
    }
    Ok(None)
}

/// The names of this board's backups of its boot flash.
fn flashes(job: &Job, serial: &str) -> Result<Vec<String>, BootOrderError> {
    let stem = format!("{}-", What::Flash.stem(serial));
    let is_one = |name: &String| {
        name.starts_with(&stem) && (name.ends_with(BACKUP) || name.ends_with(PACKED_BACKUP))
    };
    Ok(job.card.names()?.into_iter().filter(is_one).collect())
}

/// Keeps a valid environment. An earlier backup gets another name.
pub fn of_environment(job: &Job, content: &[u8], serial: &str) -> Result<(), BootOrderError> {
    let name = environment_file(serial);
    if let Some(earlier) = job.card.read(&name)?
        && earlier != content
    {
        let digest = hex::encode(Sha256::digest(&earlier));
        let stem = What::Environment.stem(serial);
        job.card
            .rename(&name, &format!("{stem}-{}{BACKUP}", &digest[..8]))?;
    }
    keep(job, &name, content, |file| file == content)
}

/// The environment that this board had before it was changed.
pub fn environment(job: &Job, serial: &str) -> Result<Option<Vec<u8>>, BootOrderError> {
    Ok(job.card.read(&environment_file(serial))?)
}

/// The same, if a change by this program is unfinished.
pub fn environment_before(job: &Job, serial: &str) -> Result<Option<Vec<u8>>, BootOrderError> {
    let kept = environment(job, serial)?;
    kept.map_or(Ok(None), |kept| {
        let is_it = mark::is_of(job, What::Environment, serial, &kept)?;
        Ok(is_it.then_some(kept))
    })
}

fn environment_file(serial: &str) -> String {
    format!("{}{BACKUP}", What::Environment.stem(serial))
}

/// Writes a backup and reads it back, unless the one on the card is already right.
fn keep(
    job: &Job,
    name: &str,
    file: &[u8],
    is_right: impl Fn(&[u8]) -> bool,
) -> Result<(), BootOrderError> {
    let is_there =
        || Ok::<_, BootOrderError>(job.card.read(name)?.as_deref().is_some_and(&is_right));
    (job.alive)();
    if is_there()? {
        return Ok(());
    }
    job.card.write(name, file)?;
    (job.alive)();
    if !is_there()? {
        return Err(BootOrderError::failed(format!(
            "the backup {name} reads back from the card differently from what was written"
        )));
    }
    info!("what the flash held is on the card: {name}");
    Ok(())
}
