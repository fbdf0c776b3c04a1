//! The order to flash that this node was given, by `gild.toml`, by kernel arguments, or by a file of its own on the card.

use gild_card_format::names::ORDER;
use gild_card_format::{Config, Order, OrderError};
use gild_faults::{Fault, HasFault};
use log::{info, warn};

use crate::card::folder::Folder;
use crate::failure::StepError;
use crate::node::Node;

/// The file with the order cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("{ORDER} on the card: {0}")]
pub struct Unclear(OrderError);

impl HasFault for Unclear {
    fn fault(&self) -> Fault {
        Fault::ServerUnreachable
    }
}

impl StepError for Unclear {
    fn next_step(&self) -> &'static str {
        "correct the file, or delete it"
    }
}

/// The order, if there is one. The file goes before `gild.toml`. What cannot be read orders nothing.
pub fn of(node: &Node, config: Option<&Config>) -> Result<Option<Order>, Unclear> {
    let on_card = match &node.card {
        Some(card) => in_file(card)?,
        None => None,
    };
    let order = on_card.or_else(|| config?.order.clone());
    if let Some(order) = &order {
        let whom = if node.is_meant_by(order) {
            "this node"
        } else {
            "other nodes"
        };
        info!("order {} to flash is for {whom}", order.id);
    }
    Ok(order)
}

fn in_file(card: &dyn Folder) -> Result<Option<Order>, Unclear> {
    let text = card
        .read(ORDER)
        .inspect_err(|error| warn!("whether the card has an order is not known: {error}"))
        .ok()
        .flatten()
        .unwrap_or_default();
    Order::in_file(&String::from_utf8_lossy(&text)).map_err(Unclear)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_order::stand_in::{MemoryCard, Power};

    #[test]
    fn a_file_on_the_card_gives_an_order_and_one_that_is_unclear_gives_none() {
        let card = MemoryCard::new(&Power::on());
        assert_eq!(in_file(&card).expect("no file"), None);
        card.write(ORDER, b"2026-12\nall\n").expect("a file");
        let order = in_file(&card).expect("an order").expect("one");
        assert_eq!(order.id, "2026-12");
        card.write(ORDER, b"all of them\n").expect("a file");
        let error = in_file(&card).expect_err("not an id");
        assert!(error.to_string().contains("gild-order.txt"), "{error}");
    }
}
