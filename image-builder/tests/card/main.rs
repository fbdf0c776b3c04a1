//! `gild card`, and what other tools say of a card.
//!
//! The device trees are those of the real kernel in target/kernel. Kernel, agent and firmware files are made up: only
//! their formats are real. U-Boot is real in `gate` and `way_back`.

mod build;
mod check;
#[path = "../common/mod.rs"]
mod common;
mod desk;
mod device_tree;
mod gate;
mod inspect;
mod installed;
mod refusals;
mod way_back;
mod write;
