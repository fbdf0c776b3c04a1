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

#[cfg(test)]
mod tests {
    use gild_card_format::Arguments;

    use super::*;

    fn doubts(lines: &str) -> Vec<String> {
        let text = format!(
            "server = \"nfs://10.0.0.1/gild\"\n\
             public_key = \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"\n{lines}\n"
        );
        let config = Config::parse(Some(&text), &Arguments::default()).expect("a configuration");
        check(&config).expect("nothing to refuse")
    }

    #[test]
    fn what_works_at_few_sites_is_a_doubt() {
        let two = |rest: &str| {
            let mac = |last| format!("[network.\"2c:cf:67:00:00:0{last}\"]\n");
            let address = "address = \"10.0.0.5/24\"\n";
            format!("{}{address}{}{address}{rest}", mac(1), mac(2))
        };
        for (lines, part) in [
            (
                "[network]\naddress = \"10.0.0.5/24\"\ngateway = \"10.0.1.1\"",
                "outside of the network of 10.0.0.5/24",
            ),
            (&two(""), "have one address, 10.0.0.5"),
            ("[order]\nid = \"a\"\nnodes = [\"node-1\"]", "`node1`"),
        ] {
            let found = doubts(lines);
            assert_eq!(found.len(), 1, "{lines}: {found:?}");
            assert!(
                found[0].contains(part) && found[0].contains("; next: "),
                "{found:?}"
            );
        }
        for lines in [
            "",
            "[network]\naddress = \"10.0.0.5/24\"\ngateway = \"10.0.0.1\"",
            &two("vlan = 7"),
            "[order]\nid = \"a\"\nnodes = [\"all\"]",
        ] {
            assert_eq!(doubts(lines), Vec::<String>::new(), "{lines}");
        }
    }
}
