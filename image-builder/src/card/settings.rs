//! Checks of a card's configuration in addition to what the agent refuses: before a card is made, and in `gild check`.

use anyhow::{Result, anyhow, ensure};
use gild_card_format::Config;
use gild_format::release::GOLDEN;
use gild_golden::authority;
use gild_http::Access;

/// Refuses what no node could work with, and gives what is probably a mistake.
pub fn check(config: &Config) -> Result<Vec<String>> {
    let doubts = servers(config)?;
    check_authorities(config)?;
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
