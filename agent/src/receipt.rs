//! Step 11, receipt: what happened to this node, on the card, on the console and at the status URL.

mod content;
mod keep;
#[cfg(test)]
mod tests;
mod text;

pub use content::Receipt;
#[cfg(test)]
pub use content::make;
use gild_card_format::names::{receipt_json, receipt_text};
use log::{info, warn};

use crate::failure::Failure;
use crate::journal;
use crate::machine::Machine;
use crate::node::Node;
use keep::keeps;
use text::text;

/// Reports what happened, everywhere. If one place fails, the others still get the report. `held`: the node waits for the operator.
pub fn tell(machine: &Machine, node: &Node, failure: Option<&Failure>, held: bool) {
    let receipt = content::make(machine, node, failure, held);
    let json = serde_json::to_string(&receipt).unwrap_or_else(|error| {
        warn!("the receipt cannot be written as JSON: {error}");
        String::new()
    });
    info!("receipt {json}");
    let mut is_news = true;
    if let Some(card) = &node.card {
        let id = node.id();
        let files = [
            (
                receipt_text(&id),
                text(&receipt, failure, machine.stage().name()),
            ),
            (receipt_json(&id), format!("{json}\n")),
        ];
        if keeps(&card.read(&files[1].0).unwrap_or_default(), &receipt) {
            info!("the receipt of the flash stays on the card");
            is_news = false;
        } else {
            if let Err(error) = card.write(&files) {
                warn!("the receipt is not on the card: {error}");
            }
            match failure {
                None => journal::keep(machine, node),
                Some(_) => journal::keep_if_due(machine, node),
            }
        }
    }
    if node.status.is_some() {
        machine.reporter.receipt(receipt, is_news);
    }
}
