//! What a flash held before it was changed, on the card: for the operator, and for the attempt after a power cut.

use gild_boards::uboot_env::Block;
use log::info;
use sha2::{Digest, Sha256};

use super::{BootOrderError, Job};

/// How the names of backups end: half a file has another name.
const KIND: &str = ".bin";

/// Keeps the content of a boot flash, each one under a name of its own. One that starts nothing may be what a power cut
/// made of the one before, which is kept already.
pub fn of_flash(
    job: &Job,
    content: &[u8],
    serial: &str,
    starts: bool,
) -> Result<(), BootOrderError> {
    if content == vec![0xff; content.len()] {
        return Ok(());
    }
    let stem = format!("flash-{serial}-");
    let is_kept = |name: &String| name.starts_with(&stem) && name.ends_with(KIND);
    if !starts && job.card.names()?.iter().any(is_kept) {
        return Ok(());
    }
    let digest = hex::encode(Sha256::digest(content));
    keep(job, &format!("{stem}{}{KIND}", &digest[..8]), content)
}

/// Keeps a valid environment. An earlier one gets a name of its own.
pub fn of_environment(job: &Job, content: &[u8], serial: &str) -> Result<(), BootOrderError> {
    let name = environment_file(serial);
    if let Some(earlier) = job.card.read(&name)?
        && earlier != content
    {
        let digest = hex::encode(Sha256::digest(&earlier));
        job.card
            .rename(&name, &format!("env-{serial}-{}{KIND}", &digest[..8]))?;
    }
    keep(job, &name, content)
}

/// The environment that this board had before it was changed.
pub fn environment(job: &Job, serial: &str) -> Result<Option<Block>, BootOrderError> {
    let bytes = job.card.read(&environment_file(serial))?;
    Ok(bytes.and_then(|bytes| Block::parse(&bytes).ok()))
}

fn environment_file(serial: &str) -> String {
    format!("env-{serial}{KIND}")
}

fn keep(job: &Job, name: &str, content: &[u8]) -> Result<(), BootOrderError> {
    let is_there = || Ok::<_, BootOrderError>(job.card.read(name)?.as_deref() == Some(content));
    (job.alive)();
    if is_there()? {
        return Ok(());
    }
    job.card.write(name, content)?;
    (job.alive)();
    if !is_there()? {
        return Err(BootOrderError::failed(format!(
            "the backup {name} reads back from the card differently from what was written"
        )));
    }
    info!("what the flash held is on the card: {name}");
    Ok(())
}
