//! PID 1 on the flasher card.
fn main() {}
