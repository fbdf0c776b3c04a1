//! The first boot of a node that was just flashed: who it is, asked of Matchbox by MAC address, and left behind as a
//! seed that cloud-init reads.
//!
//! [`seeding`] is the whole of it; whatever fails, a seed is left, so that a node without an identity is one that
//! can be reached. [`stable_mac`] gives a node without a MAC address of its own one that lasts, [`card_network`] the network
//! settings of its flasher card, [`k3s_config`] is the last look
//! before k3s is started, [`join`] the way from there into the cluster, and [`refresh`] what a member still takes on from
//! Matchbox. [`report`] says on the desk how far the node is on this way; nothing depends on it.
//! [`orders`] is what an operator's key has a node do that runs. Whether the image has proven that it
//! starts is `gild-proof`'s.

pub mod ask;
pub mod board_number;
pub mod card_network;
pub mod client;
pub mod cluster;
pub mod configuration;
pub mod correction;
pub mod desk;
pub mod document;
pub mod files;
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
