//! `gild flash`: the agent's engine, run from a workstation.

/// Arguments of `gild flash`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `gild flash`.
pub fn run(_: Args) -> anyhow::Result<()> {
    anyhow::bail!("`gild flash` is not built into this version")
}
