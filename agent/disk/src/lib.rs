//! Disks, and how they are reached.
//!
//! [`select`] finds the one NVMe namespace that may be written, and [`revive`] brings back what the kernel has lost. A
//! [`Target`] is what can be written: a [`BlockDevice`], or a stand-in for one. [`mtd`] reaches the boot flash, and
//! [`watchdog`] sets a time-out, and [`Smart`] is what an NVMe disk reports about its health: all are here because all ioctls
//! are in one private module.

mod buffer;
mod clock;
pub mod mtd;
pub mod revive;
pub mod select;
mod smart;
mod sys;
mod target;
pub mod watchdog;

pub use buffer::AlignedBuffer;
pub use clock::{Clock, SystemClock};
pub use smart::Smart;
pub use target::{BlockDevice, TRANSFER, Target, ZeroMethod};
