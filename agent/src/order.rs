//! The order to flash for this node. It comes from `gild.toml`, from kernel arguments, or from a file of its own on the card.

use std::io;

use gild_card_format::names::ORDER;
use gild_card_format::{Arguments, Config, Order, OrderError};
use gild_faults::{Fault, HasFault};
use log::{info, warn};

use crate::card::folder::Folder;
use crate::failure::StepError;
use crate::node::Node;

/// The agent does not know whether there is an order. If it wrote the disk now, the disk's record would not name the order, and a
/// later start would carry the order out and erase the disk again.
#[derive(Debug, thiserror::Error)]
pub enum Unclear {
    /// The file with the order cannot be understood.
    #[error("{ORDER} on the card: {0}")]
    Text(OrderError),
    /// The file cannot be read.
    #[error("whether the card has an order to flash is not known: {0}")]
    Unreadable(io::Error),
}

impl HasFault for Unclear {
    fn fault(&self) -> Fault {
        Fault::ServerUnreachable
    }
}

impl StepError for Unclear {
    fn next_step(&self) -> &'static str {
        match self {
            Self::Text(_) => "correct the file, or delete it",
            Self::Unreadable(_) => "replace the card if this stays so",
        }
    }
}

/// The order, if there is one. The file overrides `gild.toml`. If the file cannot be read, no order counts, because the file may
/// replace the order of `gild.toml` with one for other nodes.
pub fn of(
    node: &Node,
    config: Option<&Config>,
    arguments: &Arguments,
) -> Result<Option<Order>, Unclear> {
    let configured = config.and_then(|config| config.order.clone());
    let order = match &node.card {
        Some(card) if !card.is_boot_medium => {
            let is_by_card = || in_file(card).map_or(true, |text| !text.is_empty());
            in_arguments(configured, arguments, &card.name, is_by_card)
        }
        Some(card) => in_text(&in_file(card)?)?.or(configured),
        None => configured,
    };
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

/// The order by kernel arguments alone. They come from the medium that the board was started from. A card that is not in the
/// board's slot may be an old copy of a card, on an eMMC for example: the agent finds that copy if the card itself shows too late
/// or cannot be read.
fn in_arguments(
    configured: Option<Order>,
    arguments: &Arguments,
    card: &str,
    is_by_card: impl FnOnce() -> bool,
) -> Option<Order> {
    let is_argument = |key| arguments.get(key).is_some();
    if is_argument("order.id") && is_argument("order.nodes") {
        return configured;
    }
    if configured.is_some() || is_by_card() {
        warn!(
            "an order to flash on {card} does not count, because that card is not in the slot that the board boots from; next: put it there"
        );
    }
    None
}

fn in_file(card: &dyn Folder) -> Result<Vec<u8>, Unclear> {
    let text = card.read(ORDER).map_err(Unclear::Unreadable)?;
    Ok(text.unwrap_or_default())
}

fn in_text(text: &[u8]) -> Result<Option<Order>, Unclear> {
    Order::in_file(&String::from_utf8_lossy(text)).map_err(Unclear::Text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_order::stand_in::{MemoryCard, Power};

    #[test]
    fn an_order_stands_in_a_file_of_the_card() {
        let card = MemoryCard::new(&Power::on());
        assert_eq!(in_file(&card).expect("a card"), b"");
        card.write(ORDER, b"2026-12\nall\n").expect("a card");
        assert_eq!(in_file(&card).expect("a card"), b"2026-12\nall\n");
    }

    #[test]
    fn where_there_is_no_card_the_configuration_alone_gives_an_order() {
        let order = in_text(b"2026-12\nall\n").expect("an order");
        let arguments = Arguments::parse(
            "gild.server=nfs://10.0.2.2/gild gild.public_key=RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3 gild.order.id=2026-12 gild.order.nodes=all",
        );
        let config = Config::parse(None, &arguments).expect("a configuration");
        let found = of(&Node::default(), Some(&config), &arguments);
        assert_eq!(found.expect("an order"), order);
    }

    #[test]
    fn a_file_on_the_card_gives_an_order_and_one_that_is_unclear_gives_none() {
        assert_eq!(in_text(b"").expect("no file"), None);
        let order = in_text(b"2026-12\nall\n").expect("an order").expect("one");
        assert_eq!(order.id, "2026-12");
        let error = in_text(b"all\n").expect_err("nobody is named");
        assert!(error.to_string().contains("gild-order.txt"), "{error}");
        assert!(error.next_step().contains("delete it"));
        let unreadable = Unclear::Unreadable(io::Error::other("gone"));
        assert!(unreadable.next_step().contains("replace the card"));
        let error = in_text(b"all of them\n").expect_err("not an id");
        assert!(error.to_string().contains("gild-order.txt"), "{error}");
    }

    #[test]
    fn an_old_copy_of_a_card_gives_no_orders() {
        let order = in_text(b"2026-12\nall\n").expect("an order").expect("one");
        let counts = |arguments: &str| {
            let arguments = Arguments::parse(arguments);
            in_arguments(Some(order.clone()), &arguments, "mmcblk0p1", || true)
        };
        assert_eq!(counts("gild.card=1234-ABCD"), None);
        assert_eq!(
            counts("gild.order.id=2026-12"),
            None,
            "its nodes are the copy's"
        );
        let whole = counts("gild.order.id=2026-12 gild.order.nodes=all");
        assert_eq!(whole, Some(order.clone()), "the copy has no part in it");
    }
}
