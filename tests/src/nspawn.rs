//! First boots without an emulator: the golden image's files on an amd64 root, started as a container of systemd's.
//!
//! Real: systemd, cloud-init, ssh, networkd and every unit, file and program of the golden image, its DHCP and its requests. Not real: the
//! kernel, which is the host's, with the drivers, disks and udev that a board would have; Matchbox and k3s, which are stand-ins; and the
//! cable, which is a pair of virtual interfaces. One line of the network configuration looks for hardware, so it is changed to accept
//! those.
//!
//! It needs root, and says so. Everything that it starts ends with it.

mod image;
mod machine;
mod rack;
mod site;

pub use image::Image;
pub use machine::{End, Machine};
pub use rack::{
    FALLBACK_NAME, MAC, Rack, SERVER, assert_joined, assert_secret, ssh_answers, starts,
};
pub use site::{Cable, GATEWAY, Site};
