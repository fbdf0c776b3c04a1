//! What the agent's program can do without: it has to be small, for it is read from a card at every start.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("musl") {
        // The index of what unwinding needs. Nothing unwinds: a panic is told and the board starts again.
        println!("cargo:rustc-link-arg-bins=--no-eh-frame-hdr");
        // Functions that compile to the same code, once. Nothing here compares functions' addresses.
        println!("cargo:rustc-link-arg-bins=--icf=all");
    }
}
