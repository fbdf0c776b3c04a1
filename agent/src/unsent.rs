//! Receipts that the status URL did not take before a restart. The card keeps them for the next start that has a network.

use std::io;

use gild_card_format::names::unsent_receipts;
use gild_report::MAX_LENGTH;
use log::{info, warn};
use serde::de::IgnoredAny;

use crate::card::folder::Folder;
use crate::machine::Machine;
use crate::node::Node;

/// At most this many are kept. If there are more, the oldest is dropped.
const MOST: usize = 4;

/// Reads the receipts of earlier starts, once in each start. It does not read the card before there is a network to send them.
pub fn take_up(machine: &Machine, node: &mut Node) {
    let (Some(_), Some(card), None) = (&node.status, &node.card, &node.unsent) else {
        return;
    };
    match read(card, &node.lasting_id()) {
        Ok(receipts) => {
            if !receipts.is_empty() {
                info!(
                    "{} receipt(s) of earlier starts are sent again",
                    receipts.len()
                );
            }
            machine.reporter.earlier(receipts.clone());
            node.unsent = Some(receipts);
        }
        Err(error) => warn!("receipts of earlier starts cannot be read: {error}"),
    }
}

/// Leaves for the next start what was not taken.
pub fn keep(machine: &Machine, node: &Node) {
    let Some(card) = &node.card else { return };
    let receipts = machine.reporter.unsent();
    if let Err(error) = keep_on(card, &node.lasting_id(), node.unsent.as_deref(), receipts) {
        warn!("the next start does not send the receipt again: {error}");
    }
}

/// `on_card` is what was read earlier, if it was. The card is written only if there is something new.
fn keep_on(
    card: &dyn Folder,
    id: &str,
    on_card: Option<&[String]>,
    receipts: Vec<String>,
) -> io::Result<()> {
    let (before, mut after) = match on_card {
        Some(on_card) => (on_card.to_vec(), receipts),
        None if receipts.is_empty() => return Ok(()),
        None => {
            let before = read(card, id)?;
            let after = before.iter().cloned().chain(receipts).collect();
            (before, after)
        }
    };
    after.drain(..after.len().saturating_sub(MOST));
    if after == before {
        return Ok(());
    }
    if after.is_empty() {
        return card.remove(&unsent_receipts(id));
    }
    let text: String = after
        .iter()
        .flat_map(|receipt| [receipt.as_str(), "\n"])
        .collect();
    card.write(&unsent_receipts(id), text.as_bytes())
}

/// Ignores what is not a receipt.
fn read(card: &dyn Folder, id: &str) -> io::Result<Vec<String>> {
    let text = card.read(&unsent_receipts(id))?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let is_one =
        |line: &&str| line.len() <= MAX_LENGTH && serde_json::from_str::<IgnoredAny>(line).is_ok();
    let receipts = text.lines().filter(is_one).take(MOST);
    Ok(receipts.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_order::stand_in::{MemoryCard, Power};

    const NAME: &str = "gild-a.unsent";

    fn receipts(numbers: &[u32]) -> Vec<String> {
        numbers.iter().map(|n| format!("{{\"n\":{n}}}")).collect()
    }

    #[test]
    fn the_next_start_finds_what_was_not_taken_and_then_nothing() {
        let card = MemoryCard::new(&Power::on());
        assert_eq!(read(&card, "a").expect("a card"), receipts(&[]));
        keep_on(&card, "a", Some(&[]), receipts(&[1])).expect("a card");
        let found = read(&card, "a").expect("a card");
        assert_eq!(found, receipts(&[1]));
        keep_on(&card, "a", Some(&found), receipts(&[])).expect("a card");
        assert_eq!(card.get(NAME), None);
    }

    #[test]
    fn a_start_without_a_network_leaves_what_is_there_and_adds_its_own() {
        let card = MemoryCard::new(&Power::on());
        keep_on(&card, "a", None, receipts(&[1])).expect("a card");
        keep_on(&card, "a", None, receipts(&[])).expect("a card");
        assert_eq!(read(&card, "a").expect("a card"), receipts(&[1]));
        keep_on(&card, "a", None, receipts(&[2, 3, 4, 5])).expect("a card");
        assert_eq!(read(&card, "a").expect("a card"), receipts(&[2, 3, 4, 5]));
    }

    #[test]
    fn the_card_is_written_for_something_new_only() {
        let power = Power::on();
        let card = MemoryCard::new(&power);
        keep_on(&card, "a", None, receipts(&[1])).expect("a card");
        card.is_read_only.set(true);
        keep_on(&card, "a", Some(&receipts(&[1])), receipts(&[1])).expect("nothing is written");
        keep_on(&card, "a", None, receipts(&[])).expect("nothing is written");
        keep_on(&card, "a", Some(&[]), receipts(&[])).expect("nothing is written");
        keep_on(&card, "a", Some(&receipts(&[1])), receipts(&[])).expect_err("it is to be removed");
    }

    #[test]
    fn a_power_cut_leaves_the_old_ones_or_the_new_ones() {
        let power = Power::on();
        let card = MemoryCard::new(&power);
        keep_on(&card, "a", None, receipts(&[1])).expect("a card");
        for kept in [receipts(&[1, 2]), receipts(&[])] {
            power.cut_after(0);
            keep_on(&card, "a", Some(&receipts(&[1])), kept).expect_err("the power went");
            power.restore();
            assert_eq!(read(&card, "a").expect("a card"), receipts(&[1]));
        }
    }

    #[test]
    fn what_is_not_a_receipt_is_not_sent() {
        let card = MemoryCard::new(&Power::on());
        let long = format!("\"{}\"", "x".repeat(MAX_LENGTH));
        card.put(
            NAME,
            format!("{{\"n\":1}}\nhalf {{\n{long}\n\n{{\"n\":2}}\n\u{fffd}").as_bytes(),
        );
        assert_eq!(read(&card, "a").expect("a card"), receipts(&[1, 2]));
    }
}
