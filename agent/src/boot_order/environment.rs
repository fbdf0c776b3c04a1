//! The boot order in the environment that a U-Boot keeps in flash.
//!
//! A valid environment replaces the whole built-in one, so it is changed and written as a whole. Between erase and write there is none, and
//! U-Boot uses its built-in order. The next attempt continues from the backup on the card. It does so only if the card's mark says that a
//! change has begun, and the backup is what was there before.
//! says that a change has begun and the backup is what was there before it.

use gild_boards::nor;
use gild_boards::uboot_env::Block;
use log::info;

use super::mark::{self, What};
use super::nor::{Nor, read_all, rewrite};
use super::{BootOrder, BootOrderError, Job, backup};
use crate::gate;

const ORDER: &str = "boot_targets";
const NVME: &[u8] = b"nvme";
const BY_HAND: &str = "set boot_targets in U-Boot's environment by hand, or leave this card in the slot: it starts the disk";

/// Whether an environment is there.
pub fn is_valid(bytes: &[u8]) -> bool {
    Block::parse(bytes).is_ok()
}

/// Puts the NVMe first in the order.
pub fn set(job: &Job, flash: &dyn Nor, serial: &str) -> Result<BootOrder, BootOrderError> {
    let current = read_all(flash)?;
    let interrupted = interrupted(job, flash, &current, serial)?;
    let is_resumed = interrupted.is_some();
    let before = match interrupted {
        Some(before) => before,
        None if is_valid(&current) || backup::environment(job, serial)?.is_none() => {
            current.clone()
        }
        None => {
            return Err(BootOrderError::not_possible(
                "where U-Boot kept its environment there is something else now",
                BY_HAND,
            ));
        }
    };
    let Change { old, new, wanted } = Change::of(&before)?;
    if old == new && !is_resumed {
        mark::remove(job, What::Environment, serial);
        return Ok(BootOrder::AlreadyRight);
    }
    if !job.standing.is_proven() && !is_resumed {
        return Err(BootOrderError::waits());
    }
    backup::of_environment(job, &before, serial)?;
    mark::put(job, What::Environment, serial, &before)?;
    gate::close(job.card, job.board)?;
    let (old, new) = (old.escape_ascii(), new.escape_ascii());
    info!("writing U-Boot's environment: {ORDER}={new}");
    rewrite(flash, &current, &wanted, 0, job.alive)?;
    mark::remove(job, What::Environment, serial);
    (job.changed)(format!("{ORDER} {old} -> {new}"));
    Ok(BootOrder::Written)
}

/// What the environment was before this program began to change it, if a power cut has left none in the flash.
pub fn interrupted(
    job: &Job,
    flash: &dyn Nor,
    current: &[u8],
    serial: &str,
) -> Result<Option<Vec<u8>>, BootOrderError> {
    if is_valid(current) {
        return Ok(None);
    }
    let before = backup::environment_before(job, serial)?;
    Ok(before.filter(|before| {
        Change::of(before).is_ok_and(|Change { wanted, .. }| {
            nor::is_interrupted(current, before, &wanted, flash.block(), 0)
        })
    }))
}

/// What is changed in an environment.
struct Change {
    /// The order before.
    old: Vec<u8>,
    /// The order afterwards.
    new: Vec<u8>,
    /// What the flash is to hold.
    wanted: Vec<u8>,
}

impl Change {
    fn of(before: &[u8]) -> Result<Self, BootOrderError> {
        let refused = |reason| BootOrderError::not_possible(reason, BY_HAND);
        let mut block = Block::parse(before)
            .map_err(|error| refused(format!("U-Boot uses its built-in boot order: {error}")))?;
        if block.flag.is_some() {
            return Err(refused(
                "U-Boot keeps two copies of its environment, and only one of them is known"
                    .to_owned(),
            ));
        }
        let new = with_nvme_first(&block)?;
        let old = block.environment.get(ORDER).unwrap_or_default().to_vec();
        let set = block.environment.set(ORDER, &new);
        let wanted = set.and_then(|()| block.to_bytes(before.len(), 0));
        let wanted = wanted.map_err(|error| refused(error.to_string()))?;
        Ok(Self { old, new, wanted })
    }
}

fn with_nvme_first(block: &Block) -> Result<Vec<u8>, BootOrderError> {
    let refused = |reason| BootOrderError::not_possible(reason, BY_HAND);
    if block.environment.get("bootcmd").is_none() {
        return Err(refused("U-Boot's environment has no bootcmd"));
    }
    let order = block
        .environment
        .get(ORDER)
        .ok_or_else(|| refused("U-Boot's environment has no boot_targets"))?;
    // Old versions of U-Boot number their disks.
    let is_nvme = |name: &&[u8]| {
        let number = name.strip_prefix(NVME);
        number.is_some_and(|number| number.iter().all(u8::is_ascii_digit))
    };
    let names = order.split(u8::is_ascii_whitespace);
    let names = names.filter(|name| !name.is_empty());
    let (first, rest): (Vec<&[u8]>, Vec<&[u8]>) = names.partition(is_nvme);
    if first.is_empty() {
        return Err(refused("the U-Boot on this board does not boot from NVMe"));
    }
    Ok([first, rest].concat().join(&b' '))
}
