//! `gild initramfs build`: the agent and its kernel modules as one initramfs.

use std::path::PathBuf;

use anyhow::Context;
use gild_boards::Board;
use gild_initramfs::Contents;

use crate::board;
use crate::output;
use crate::own_files;

/// Arguments of `gild initramfs build`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the kernel: `version`, and `modules/` with depmod's tables [default: gild's own]
    #[arg(long, value_name = "DIR")]
    kernel: Option<PathBuf>,
    /// The agent: a static aarch64 program [default: gild's own]
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
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
    let kernel = own_files::kernel(args.kernel.as_deref())?;
    let agent = own_files::AGENT.or(args.agent.as_deref())?;
    let output = output::place(&args.output, &[&kernel, &agent])?;
    let contents = Contents {
        kernel: &kernel,
        agent: &agent,
        boards: &boards,
        extra_modules: &args.extra_modules,
    };
    let initramfs = gild_initramfs::build(&contents).context("building the initramfs")?;
    initramfs.write(&output)?;
    print!("{initramfs}");
    Ok(())
}
