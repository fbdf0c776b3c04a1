//! The mark on the card that a change of a flash has begun, from before the first erase until all is read back right.
//!
//! A power cut in an erase or a write leaves bits that are neither old nor new. So the flash itself does not show who changed it. The mark
//! shows that the agent did, and what was there before: the backup on the card with the same digest.

use gild_card_format::names::{WRITING, environment_stem, flash_stem};
use log::warn;
use sha2::{Digest, Sha256};

use super::{BootOrderError, Job};

const DIGEST: &str = "before";

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The whole boot flash.
    Flash,
    /// U-Boot's environment.
    Environment,
}

impl What {
    /// How the names of the files of one board begin.
    pub fn stem(self, serial: &str) -> String {
        match self {
            Self::Flash => flash_stem(serial),
            Self::Environment => environment_stem(serial),
        }
    }

    fn mark(self, serial: &str) -> String {
        format!("{}{WRITING}", self.stem(serial))
    }
}

/// Puts the mark on the card and reads it back.
pub fn put(job: &Job, what: What, serial: &str, before: &[u8]) -> Result<(), BootOrderError> {
    let (name, text) = (what.mark(serial), text(before));
    (job.alive)();
    job.card.write(&name, text.as_bytes())?;
    if job.card.read(&name)?.as_deref() == Some(text.as_bytes()) {
        return Ok(());
    }
    Err(BootOrderError::failed(format!(
        "{name} reads back from the card differently from what was written"
    )))
}

/// Whether the mark is there and belongs to this content.
pub fn is_of(job: &Job, what: What, serial: &str, before: &[u8]) -> Result<bool, BootOrderError> {
    let mark = job.card.read(&what.mark(serial))?;
    Ok(mark.is_some_and(|mark| mark == text(before).as_bytes()))
}

/// Whether the mark is there.
pub fn is_there(job: &Job, what: What, serial: &str) -> Result<bool, BootOrderError> {
    Ok(job.card.names()?.contains(&what.mark(serial)))
}

/// Removes the mark. If it cannot be removed, that does no harm: the agent reads it only if the flash is not right, and the next attempt
/// removes it.
pub fn remove(job: &Job, what: What, serial: &str) {
    let removed = match is_there(job, what, serial) {
        Ok(false) => Ok(()),
        Ok(true) => job.card.remove(&what.mark(serial)).map_err(Into::into),
        Err(error) => Err(error),
    };
    if let Err(error) = removed {
        warn!("{} may be left on the card: {error}", what.mark(serial));
    }
}

fn text(before: &[u8]) -> String {
    format!("{DIGEST}={}\n", hex::encode(Sha256::digest(before)))
}
