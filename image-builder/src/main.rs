//! The workstation tool.
fn main() {}
