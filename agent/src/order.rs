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
    let text = match node.card.as_ref().map(|card| Folder::read(card, ORDER)) {
        None => Vec::new(),
        Some(Ok(text)) => text.unwrap_or_default(),
        Some(Err(error)) => {
            // It may hide an order of gild.toml that is not for this node.
            warn!("whether the card has an order is not known, so none counts: {error}");
            return Ok(None);
        }
    };
    let on_card = in_text(&text)?;
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

fn in_text(text: &[u8]) -> Result<Option<Order>, Unclear> {
    Order::in_file(&String::from_utf8_lossy(text)).map_err(Unclear)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_on_the_card_gives_an_order_and_one_that_is_unclear_gives_none() {
        assert_eq!(in_text(b"").expect("no file"), None);
        let order = in_text(b"2026-12\nall\n").expect("an order").expect("one");
        assert_eq!(order.id, "2026-12");
        let error = in_text(b"all of them\n").expect_err("not an id");
        assert!(error.to_string().contains("gild-order.txt"), "{error}");
    }
}
