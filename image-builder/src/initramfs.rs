//! `gild initramfs build`: the agent and its kernel modules as one initramfs.

/// Arguments of `gild initramfs build`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `gild initramfs build`.
pub fn run(_: Args) -> anyhow::Result<()> {
    anyhow::bail!("`gild initramfs build` is not built into this version")
}
