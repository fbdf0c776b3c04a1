//! Memory that `O_DIRECT` accepts.
