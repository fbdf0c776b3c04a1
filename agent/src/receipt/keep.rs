//! Which of two receipts the card keeps.

use serde::Deserialize;

use super::content::{ALREADY_DONE, FLASHED, Receipt};

/// What counts of the receipt on the card.
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

/// Whether the receipt on the card says more than this one: it says how the image got onto the disk. Otherwise a card that stays
/// in a board that boots from it first would lose that at the next start. News of the boot order is worth more.
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
