//! What the agent's program can do without: it has to be small, for it is read from a card at every start.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The index of what unwinding needs. Nothing unwinds: a panic is told and the board starts again.
    if env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("musl") {
        println!("cargo:rustc-link-arg-bins=--no-eh-frame-hdr");
    }
}
