//! What gild promises, end to end. The cases are in one program, so that they keep all cores busy until the last one ends.
//!
//! `make test` runs one case of each kind. Variants that take minutes are in modules called `campaign`, and only `make campaign` runs them.

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
