//! What the tests of the configuration have in common.

use gild_boards::mac::Mac;
use gild_format::network::Settings;

use super::{Config, ConfigError};
use crate::arguments::Arguments;

/// The public key in the documentation of minisign.
pub const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

/// The least that a file must have.
pub fn minimal() -> String {
    format!("server = \"nfs://10.0.2.2:2049/gild\"\npublic_key = \"{KEY}\"\n")
}

/// Reads a file and a kernel command line.
pub fn parse(file: &str, command_line: &str) -> Result<Config, ConfigError> {
    Config::parse(Some(file), &Arguments::parse(command_line))
}

/// What counts for the board with these MAC addresses.
pub fn of(config: &Config, macs: &[&str]) -> Settings {
    let macs: Vec<Mac> = macs.iter().filter_map(|mac| Mac::parse(mac)).collect();
    let settings = config.networks.of_board(&macs);
    settings.expect("one section at most").clone()
}

/// What is wrong with a file and a kernel command line.
pub fn complaint(file: &str, command_line: &str) -> String {
    parse(file, command_line)
        .expect_err("this configuration is wrong")
        .to_string()
}
