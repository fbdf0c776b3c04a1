//! Decides which of two receipts the card keeps.

use serde::Deserialize;

use super::content::{ALREADY_DONE, FLASHED, Receipt};

/// The parts that matter of the receipt on the card.
#[derive(Default, Deserialize)]
#[serde(default)]
struct OnCard {
    outcome: String,
    fault: Option<u8>,
    boot_order: Option<String>,
    boot_order_changes: Vec<String>,
    image_id: Option<String>,
    target: Option<Disk>,
}

#[derive(Deserialize)]
struct Disk {
    serial: String,
}

/// Whether the receipt on the card says more than this one. It does if it says how the image got onto the disk. Without this rule a card
/// that stays in a board which boots from it first would lose that at the next start. News of the boot order matters more.
pub fn keeps(on_card: &str, new: &Receipt) -> bool {
    let Ok(old) = serde_json::from_str::<OnCard>(on_card) else {
        return false;
    };
    let is_news = old.fault != new.report.fault
        || (new.report.fault.is_some() && old.boot_order != new.boot_order)
        || (!new.boot_order_changes.is_empty() && old.boot_order_changes != new.boot_order_changes);
    let old_disk = old.target.as_ref().map(|disk| &disk.serial);
    let new_disk = new.target.as_ref().map(|disk| &disk.serial);
    new.report.outcome.as_deref() == Some(ALREADY_DONE)
        && !is_news
        && old.outcome == FLASHED
        && old.image_id == new.report.image_id
        && old_disk == new_disk
}
