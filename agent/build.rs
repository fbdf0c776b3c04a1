//! What the agent's program can do without: it has to be small, because it is read from a card at every start.

use std::env;
use std::path::Path;

const UNWIND_TABLES: &str = "no-unwind-tables.ld";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={UNWIND_TABLES}");
    let is = |name: &str, value: &str| env::var(name).as_deref() == Ok(value);
    if !is("CARGO_CFG_TARGET_ENV", "musl") {
        return;
    }
    // Functions that compile to the same code, once. Nothing here compares functions' addresses.
    println!("cargo:rustc-link-arg-bins=--icf=all");
    // The profile `agent`, the only one of this level, ends panics by aborting. (CARGO_CFG_PANIC does not know of profiles.)
    if is("OPT_LEVEL", "z") {
        // The tables that unwinding needs, and their index. Nothing unwinds: a panic is shown and the board starts again.
        let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        let script = Path::new(&folder).join(UNWIND_TABLES);
        println!("cargo:rustc-link-arg-bins=--no-eh-frame-hdr");
        println!("cargo:rustc-link-arg-bins={}", script.display());
    }
}
