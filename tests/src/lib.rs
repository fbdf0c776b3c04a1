//! Virtual boards, end to end tests, benches.
//!
//! `docs/virtual-boards.md` lists what is real here and what is simulated.

pub mod board_dtb;
pub mod card;
pub mod cargo;
pub mod chain;
pub mod cluster;
pub mod command;
pub mod desk;
pub mod disk;
pub mod eeprom;
pub mod firmware;
pub mod flasher;
pub mod ganesha;
pub mod golden;
pub mod kernel;
pub mod kernel_nfsd;
pub mod led;
pub mod matchbox;
pub mod nfs_server;
pub mod nginx;
pub mod nspawn;
pub mod pi5;
pub mod processor_time;
pub mod qmp;
pub mod rack;
pub mod real_image;
pub mod scene;
pub mod serial;
pub mod share;
pub mod slot;
pub mod u_boot;
pub mod virtual_board;
pub mod workspace;
