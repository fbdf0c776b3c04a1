//! Builds golden images: a root file system becomes a sealed, reproducible disk image, without root and without
//! loop devices.

pub mod age;
pub mod apparmor;
pub mod assemble;
pub mod authority;
pub mod base;
pub mod base_image;
pub mod boot;
pub mod cache;
pub mod early_network;
pub mod error;
pub mod first_boot;
pub mod hold;
pub mod image_id;
pub mod k3s;
mod k3s_settings;
pub mod overlay;
pub mod pipeline;
pub mod progress;
pub mod recipe;
pub mod record;
pub mod sbom;
pub mod seal;
pub mod settings;
pub mod site;
pub mod text;
pub mod tree;
pub mod units;
pub mod up_to_date;
pub mod updates;
mod warnings;
