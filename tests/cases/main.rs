//! What gild promises, end to end. One program, so that its cases fill all cores until the last one ends.
//!
//! `make test` runs one case of each kind. A variant that costs minutes stands in a module `campaign`, and `make campaign` runs
//! it.

mod boot_order;
mod chain_rock5b;
mod chain_rpi5;
mod check;
mod configuration;
mod demo;
mod desk;
mod disk_trouble;
mod first_boot;
mod first_boot_cuts;
mod first_boot_join;
mod first_boot_trouble;
mod happy_path;
mod http;
mod matchbox;
mod network;
mod nfs;
mod orders;
mod pi5_steppings;
mod power_cuts;
mod refusals;
mod reports;
mod server_trouble;
mod takeover;
mod target_choice;
mod trial;
mod unit_order;
mod virtual_board;
