//! The first boot of a node that was just flashed. The node asks Matchbox by MAC address who it is, and leaves the answer as a seed for
//! cloud-init.
//!
//! [`seeding`] is the whole of it. Whatever fails, it leaves a seed, so even a node without an identity can be reached. [`stable_mac`]
//! gives a lasting MAC address to a node that has none. [`card_network`] applies the network settings from the flasher card. [`k3s_config`]
//! is the last check before k3s starts, [`join`] is the way from there into the cluster, and [`refresh`] is what a member still takes from
//! Matchbox. [`report`] tells the desk how far the node is; nothing depends on it. [`orders`] carries out what an operator's key has signed
//! for a running node. The proof that the image starts is in the crate `gild-proof`.

pub mod ask;
pub mod board_number;
pub mod card_network;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod configuration;
pub mod correction;
pub mod desk;
pub mod document;
pub mod files;
pub mod flasher;
pub mod interface;
pub mod join;
pub mod k3s;
pub mod k3s_config;
pub mod k3s_url;
pub mod led;
pub mod login;
pub mod node;
pub mod online;
pub mod orders;
pub mod reach;
pub mod refresh;
pub mod report;
pub mod secret;
pub mod seed;
pub mod seeding;
pub mod settings;
pub mod ssh_key;
pub mod stable_mac;
pub mod token;
pub mod turn;

#[cfg(test)]
mod test_server;
