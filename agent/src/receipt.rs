//! Step 11, receipt: what happened to this node, on the card, on the console and at the status URL.

mod content;
mod keep;
#[cfg(test)]
mod tests;
mod text;

use gild_card_format::names::{receipt_json, receipt_text};
use log::{info, warn};

use crate::failure::Failure;
use crate::http;
use crate::machine::Machine;
use crate::node::Node;
use keep::keeps;
use text::text;

/// Reports what happened, everywhere. What cannot be reported in one place is reported in the others.
pub fn tell(machine: &Machine, node: &Node, failure: Option<&Failure>) {
    let receipt = content::make(machine, node, failure);
    let json = serde_json::to_string(&receipt).unwrap_or_else(|error| {
        warn!("the receipt cannot be written as JSON: {error}");
        String::new()
    });
    info!("receipt {json}");
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
        } else if let Err(error) = card.write(&files) {
            warn!("the receipt is not on the card: {error}");
        }
    }
    if let (Some(url), Some(_)) = (&node.status_url, &node.network)
        && let Err(error) = http::post_json(node.authorities.as_deref(), url, json)
    {
        warn!("the receipt did not reach the status URL: {error}");
    }
}
