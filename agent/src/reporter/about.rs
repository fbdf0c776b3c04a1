//! What every report says of the node.

use std::path::Path;

use gild_identity::Interface;
use gild_report::Report;

use crate::board;
use crate::network::Network;
use crate::node::Node;

/// What is known of the node now.
pub fn about(node: &Node) -> Report {
    let mac = node.mac();
    let wired = Interface::wired(Path::new("/"));
    let others = wired
        .iter()
        .filter(|interface| !interface.has_random_mac())
        .filter_map(Interface::mac)
        .filter(|other| Some(*other) != mac);
    Report {
        mac: mac.map(|mac| mac.to_string()),
        other_macs: others.map(|mac| mac.to_string()).collect(),
        board: node.board.map(|board| board.name.clone()),
        serial: board::serial(),
        hostname: node.hostname.clone(),
        address: node.network.as_ref().and_then(Network::address),
        image_id: node.image_id.clone(),
        offered: node.offered.clone(),
        on_trial: node.is_on_trial,
        order: node.order.clone(),
        message: node.heard.trouble().map(str::to_owned),
        agent_version: Some(crate::version::VERSION.to_owned()),
        ..Report::default()
    }
}
