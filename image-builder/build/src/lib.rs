//! Builds golden images: a root file system becomes a sealed, reproducible disk image, without root and without
//! loop devices.

pub mod assemble;
pub mod tree;
