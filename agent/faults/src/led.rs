//! What the agent and a running node show alike on the status LED.

/// Lit and dark, milliseconds: the image has not proven itself, or the boot order is still to be changed.
pub const STILL_NEEDS_THE_CARD: (u64, u64) = (900, 100);

/// Lit and dark, milliseconds: an order asks which board this is.
pub const IDENTIFIES: (u64, u64) = (1000, 1000);
