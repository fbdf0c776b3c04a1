//! What bounds the messages that this crate sends and takes.

/// The most bytes that one READ asks for. Larger brings nothing on the links of a board, and each
/// connection holds a few buffers of this size.
pub const MAX_READ: u32 = 1 << 20;
