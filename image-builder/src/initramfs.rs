//! `gild initramfs build`: the agent and its kernel modules as one initramfs.

use std::path::PathBuf;

use anyhow::Context;
use gild_boards::Board;
use gild_initramfs::Contents;

use crate::board;
use crate::input::must_exist;

/// What the kernel directory and the agent are called, and where they come from.
pub const KERNEL: (&str, &str) = (
    "the kernel directory",
    "give the folder that `make setup` fetches, target/kernel",
);
pub const AGENT: (&str, &str) = (
    "the agent",
    "build the card with `make card`, which compiles the agent first",
);

/// Arguments of `gild initramfs build`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the kernel: `version`, and `modules/` with depmod's tables; `make setup` fetches target/kernel
    #[arg(long, value_name = "DIR")]
    kernel: PathBuf,
    /// The agent: a static aarch64 program
    #[arg(long, value_name = "FILE")]
    agent: PathBuf,
    /// Board that the initramfs starts on; may be given several times [default: all]
    #[arg(long = "board", value_name = "BOARD", value_parser = board::Named)]
    boards: Vec<&'static Board>,
    /// Load this kernel module too, on every board, after the board's own; may be given several times
    #[arg(long = "extra-module", value_name = "MODULE")]
    extra_modules: Vec<String>,
    /// Initramfs to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

/// Runs `gild initramfs build`.
pub fn run(args: Args) -> anyhow::Result<()> {
    let boards = if args.boards.is_empty() {
        gild_boards::all().iter().collect()
    } else {
        args.boards
    };
    must_exist(&args.kernel, KERNEL.0, KERNEL.1)?;
    must_exist(&args.agent, AGENT.0, AGENT.1)?;
    let contents = Contents {
        kernel: &args.kernel,
        agent: &args.agent,
        boards: &boards,
        extra_modules: &args.extra_modules,
    };
    let initramfs = gild_initramfs::build(&contents).context("building the initramfs")?;
    initramfs.write(&args.output)?;
    print!("{initramfs}");
    Ok(())
}
