//! The flash engine: a signed image goes from a source to a target, verified.
