//! The boot order in the environment that a U-Boot keeps in flash.
//!
//! A valid environment replaces the built-in one whole, so it is changed and written whole. Between erase and write there
//! is none, and U-Boot takes its built-in order; the next attempt goes on from the backup on the card.

use gild_boards::nor::PAGE;
use gild_boards::uboot_env::Block;
use log::info;

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
    let (mut block, is_present) = match (Block::parse(&current), backup::environment(job, serial)?)
    {
        (Ok(block), _) => (block, true),
        (Err(_), Some(block)) => (block, false),
        (Err(error), None) => {
            return Err(BootOrderError::not_possible(
                format!("U-Boot uses its built-in boot order: {error}"),
                BY_HAND,
            ));
        }
    };
    if block.flag.is_some() {
        return Err(BootOrderError::not_possible(
            "U-Boot keeps two copies of its environment, and only one of them is known",
            BY_HAND,
        ));
    }
    let order = with_nvme_first(&block)?;
    let before = block.clone();
    if is_present && block.environment.get(ORDER) == Some(&order[..]) {
        return Ok(BootOrder::AlreadyRight);
    }
    let shown = order.escape_ascii();
    block
        .environment
        .set(ORDER, &order)
        .and_then(|()| block.to_bytes(flash.size(), 0))
        .map_err(|error| BootOrderError::not_possible(error.to_string(), BY_HAND))
        .and_then(|wanted| {
            if is_present {
                backup::of_environment(job, &current, serial)?;
            } else {
                is_interrupted(&current, &before, &wanted)?;
            }
            gate::close(job.card, job.board)?;
            info!("writing U-Boot's environment: {ORDER}={shown}");
            rewrite(flash, &current, &wanted, 0, job.alive)
        })?;
    let old = before.environment.get(ORDER).unwrap_or_default();
    (job.changed)(format!("{ORDER} {} -> {shown}", old.escape_ascii()));
    Ok(BootOrder::Written)
}

/// Whether a power cut may have made this of an environment: its first page goes first and comes back last. Anything else
/// is another program's.
fn is_interrupted(current: &[u8], before: &Block, wanted: &[u8]) -> Result<(), BootOrderError> {
    let before = before.to_bytes(current.len(), 0).unwrap_or_default();
    let mut page = current.iter().zip(&before).zip(wanted).take(PAGE);
    if page.all(|((found, old), new)| [0xff, *old, *new].contains(found)) {
        return Ok(());
    }
    Err(BootOrderError::not_possible(
        "where U-Boot kept its environment there is something else now",
        BY_HAND,
    ))
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
    // Old U-Boots number their disks.
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
