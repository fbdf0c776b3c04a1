//! What a flash held before it was changed, on the card: for the operator, and for the attempt after a power cut.

use gild_boards::uboot_env::Block;
use log::info;
use sha2::{Digest, Sha256};

use super::packed::{pack, unpack};
use super::{BootOrderError, Job};

/// How the names of backups end: half a file has another name.
const KIND: &str = ".bin";
/// How those of whole flashes end: a card has room for some dozens of them as they are, which is how earlier agents kept
/// them, and for hundreds of packed ones.
const PACKED: &str = ".bin.zst";

/// Keeps the content of a boot flash, each one under a name of its own. One that starts nothing may be what a power cut
/// made of the one before, which is kept already.
pub fn of_flash(
    job: &Job,
    content: &[u8],
    serial: &str,
    starts: bool,
) -> Result<(), BootOrderError> {
    if content.iter().all(|byte| *byte == 0xff) {
        return Ok(());
    }
    let stem = format!("flash-{serial}-");
    let is_kept =
        |name: &String| name.starts_with(&stem) && (name.ends_with(KIND) || name.ends_with(PACKED));
    let kept: Vec<String> = job.card.names()?.into_iter().filter(is_kept).collect();
    if !starts && !kept.is_empty() {
        return Ok(());
    }
    let digest = hex::encode(Sha256::digest(content));
    let name = format!("{stem}{}", &digest[..8]);
    let unpacked = format!("{name}{KIND}");
    if kept.contains(&unpacked) && job.card.read(&unpacked)?.as_deref() == Some(content) {
        return Ok(());
    }
    (job.alive)();
    keep(job, &format!("{name}{PACKED}"), &pack(content), |file| {
        unpack(file, content.len()).is_ok_and(|unpacked| unpacked == content)
    })
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
    keep(job, &name, content, |file| file == content)
}

/// The environment that this board had before it was changed.
pub fn environment(job: &Job, serial: &str) -> Result<Option<Block>, BootOrderError> {
    let bytes = job.card.read(&environment_file(serial))?;
    Ok(bytes.and_then(|bytes| Block::parse(&bytes).ok()))
}

fn environment_file(serial: &str) -> String {
    format!("env-{serial}{KIND}")
}

/// Writes a backup, unless the one on the card is right already, and reads it back.
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
