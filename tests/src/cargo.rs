//! Builds programs of this workspace for the boards.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use crate::command::{command, run};
use crate::workspace;

/// The boards' target.
pub const BOARD_TARGET: &str = "aarch64-unknown-linux-musl";

/// Builds a package for the boards with the agent's profile and gives its program.
pub fn board_program(package: &str) -> Result<PathBuf> {
    let arguments = [
        "-p",
        package,
        "--profile",
        "agent",
        "--target",
        BOARD_TARGET,
    ];
    program(package, &arguments, &format!("{BOARD_TARGET}/agent"), &[])
}

/// Like [`board_program`], for a program that goes into an image. It names no folder of the machine that built it.
pub fn image_program(package: &str) -> Result<PathBuf> {
    let home = std::env::var("HOME").unwrap_or_default();
    let cargo = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    let root = workspace::root().canonicalize()?;
    let remap = format!(
        "--remap-path-prefix={cargo}=/cargo --remap-path-prefix={}=/gild",
        root.display()
    );
    let target = BOARD_TARGET.to_uppercase().replace('-', "_");
    let variable = format!("CARGO_TARGET_{target}_RUSTFLAGS");
    let arguments = [
        "-p",
        package,
        "--profile",
        "agent",
        "--target",
        BOARD_TARGET,
    ];
    program(
        package,
        &arguments,
        &format!("{BOARD_TARGET}/agent"),
        &[(&variable, &remap)],
    )
}

/// Builds a program for the workstation, with the profile of this harness. Cargo gets the whole workspace, as with `cargo test
/// --workspace`. For one package alone, crates would have fewer features and would be compiled again.
pub fn host_program(name: &str) -> Result<PathBuf> {
    let (profile, directory): (&[_], _) = if cfg!(debug_assertions) {
        (&[], "debug")
    } else {
        (&["--release"], "release")
    };
    let arguments = [&["--workspace", "--bin", name], profile].concat();
    program(name, &arguments, directory, &[])
}

/// Builds the programs of a node and the stub of k3s for this machine's processor. They are linked like those for the boards. Returns their
/// folder.
pub fn node_programs() -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let directory = format!("{target}/debug");
    let packages = ["-p", "gild-node", "-p", "k3s-stub"];
    let arguments = [&packages[..], &["--bins", "--target", &target]].concat();
    program("gild-seed", &arguments, &directory, &[])?;
    Ok(workspace::target().join(directory))
}

/// Builds at most once per process: the sources do not change under a running test.
fn program(
    name: &str,
    arguments: &[&str],
    directory: &str,
    environment: &[(&str, &str)],
) -> Result<PathBuf> {
    static BUILT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let path = workspace::target().join(directory).join(name);
    if !built.contains(&path) {
        if !path.exists() {
            eprintln!(
                "compiling {name} and the crates that it uses, without output: the first time this takes minutes (gild-agent: about 3 on 2 cores)"
            );
        }
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let mut clean = command(&cargo);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_this_run(name)) {
            clean.env_remove(name);
        }
        run(clean
            .current_dir(workspace::root())
            .args(["build", "--quiet"])
            .envs(environment.iter().copied())
            .args(arguments))?;
        built.insert(path.clone());
    }
    Ok(path)
}

/// Whether cargo set this variable for the program that it runs, which is this one. Some build scripts (ring's, for example) run again when
/// such a variable changes, and then every crate that needs them is compiled again.
fn is_of_this_run(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_BIN_")
        || [
            "CARGO_CRATE_NAME",
            "CARGO_MANIFEST_DIR",
            "CARGO_MANIFEST_PATH",
            "CARGO_PRIMARY_PACKAGE",
            "CARGO_TARGET_TMPDIR",
            "OUT_DIR",
        ]
        .contains(&&*name)
}
