//! Builds programs of this workspace for the boards.

use std::path::PathBuf;

use anyhow::Result;

use crate::command::{command, run};
use crate::workspace;

/// The boards' target.
pub const BOARD_TARGET: &str = "aarch64-unknown-linux-musl";

/// Builds a package for the boards with the agent's profile and gives its program.
pub fn board_program(package: &str) -> Result<PathBuf> {
    // One at a time: cargo's own lock would do, but says nothing about who waits.
    let _lock = workspace::lock("cargo")?;
    run(cargo().args([
        "build",
        "--quiet",
        "--profile",
        "agent",
        "--target",
        BOARD_TARGET,
        "-p",
        package,
    ]))?;
    Ok(workspace::target()
        .join(BOARD_TARGET)
        .join("agent")
        .join(package))
}

/// Builds a program that runs on the workstation.
pub fn host_program(package: &str) -> Result<PathBuf> {
    let _lock = workspace::lock("cargo")?;
    run(cargo().args(["build", "--quiet", "--release", "-p", package]))?;
    Ok(workspace::target().join("release").join(package))
}

fn cargo() -> std::process::Command {
    let mut cargo = command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo.current_dir(workspace::root());
    cargo
}
