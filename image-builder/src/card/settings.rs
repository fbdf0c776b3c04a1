//! Checks of a card's configuration in addition to what the agent refuses: before a card is made, and in `gild check`.

use anyhow::{Result, anyhow, ensure};
use gild_card_format::{Config, Networks, Order};
use gild_format::network::{Settings, Static};
use gild_format::release::GOLDEN;
use gild_golden::authority;
use gild_http::Access;

/// Refuses what no node could work with, and gives what is probably a mistake.
pub fn check(config: &Config) -> Result<Vec<String>> {
    let mut doubts = servers(config)?;
    check_authorities(config)?;
    doubts.extend(networks(&config.networks));
    doubts.extend(config.order.iter().flat_map(order));
    Ok(doubts)
}

/// A node looks below the server's folder for its board's folder, and there for the manifest.
fn servers(config: &Config) -> Result<Vec<String>> {
    let mut doubts = Vec::new();
    for url in &config.servers {
        let Some((folder, name)) = url.clone().split() else {
            continue;
        };
        ensure!(
            name != GOLDEN,
            "`server` names a manifest; next: leave out the folder of the board and {GOLDEN}"
        );
        if gild_boards::all().iter().any(|board| board.name == name) {
            doubts.push(format!(
                "`server` ends in {name}, so a board looks for {name}/<board>/{GOLDEN} in {folder}; next: if {name} is the folder of \
                 that board, leave it out"
            ));
        }
    }
    Ok(doubts)
}

/// Addresses that work at few sites, and are mistakes at the others.
fn networks(networks: &Networks) -> Vec<String> {
    let mut doubts = Vec::new();
    for fixed in networks
        .all()
        .filter_map(|settings| settings.address.as_ref())
    {
        if let Some(gateway) = fixed.gateway.filter(|gateway| !fixed.has(*gateway)) {
            let Static {
                address, prefix, ..
            } = fixed;
            doubts.push(format!(
                "the gateway {gateway} is outside of the network of {address}/{prefix}: a node looks for it on its own link; next: \
                 correct one of them, if that is not meant"
            ));
        }
    }
    let boards = networks.boards();
    for (at, (mac, settings)) in boards.iter().enumerate() {
        let address = |settings: &Settings| settings.address.as_ref().map(|fixed| fixed.address);
        let (Some(own), vlan) = (address(settings), settings.vlan) else {
            continue;
        };
        let is_same = |other: &Settings| address(other) == Some(own) && other.vlan == vlan;
        if let Some((first, _)) = boards[..at].iter().find(|(_, other)| is_same(other)) {
            doubts.push(format!(
                "[network.\"{first}\"] and [network.\"{mac}\"] have one address, {own}; next: give each board its own, unless both are \
                 sockets of one board"
            ));
        }
    }
    doubts
}

/// Nodes of an order that no board will know as its own.
fn order(order: &Order) -> Vec<String> {
    let doubt = |name: &String| {
        format!(
            "the order {} is for `{name}`, which is neither a MAC address nor the serial number of a board: nobody would carry it out; \
             next: name the node by its MAC address",
            order.id
        )
    };
    order.unlikely_names().map(doubt).collect()
}

/// Refuses a `ca` that cannot be read, or that cannot verify a server.
fn check_authorities(config: &Config) -> Result<()> {
    let Some(pem) = &config.authorities else {
        return Ok(());
    };
    Access::new(Some(pem), None)?;
    for host in config.tls_hosts() {
        authority::check(pem.as_bytes(), &host).map_err(|why| {
            let next = authority::how_to(&host);
            anyhow!("`ca` is not the certificate of an authority for {host}: {why}; next: {next}")
        })?;
    }
    Ok(())
}
