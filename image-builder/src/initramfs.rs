//! `gild initramfs build`: the agent and its kernel modules as one initramfs.

use std::path::PathBuf;

use anyhow::Context;
use gild_boards::Board;
use gild_initramfs::Contents;

/// Arguments of `gild initramfs build`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Kernel directory: `version` and `modules/` with depmod's tables
    #[arg(long, value_name = "DIR")]
    kernel: PathBuf,
    /// The agent: a static aarch64 program
    #[arg(long, value_name = "FILE")]
    agent: PathBuf,
    /// Board it shall start on; may be given several times [default: all]
    #[arg(long = "board", value_name = "BOARD", value_parser = parse_board)]
    boards: Vec<&'static Board>,
    /// Module to load on every board after its own; may be given several times
    #[arg(long = "extra-module", value_name = "MODULE")]
    extra_modules: Vec<String>,
    /// Where to write the initramfs
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

fn parse_board(name: &str) -> Result<&'static Board, String> {
    gild_boards::by_name(name).ok_or_else(|| {
        let names: Vec<_> = gild_boards::all()
            .iter()
            .map(|board| board.name.as_str())
            .collect();
        format!("the boards are {}", names.join(", "))
    })
}

/// Runs `gild initramfs build`.
pub fn run(args: Args) -> anyhow::Result<()> {
    let boards = if args.boards.is_empty() {
        gild_boards::all().iter().collect()
    } else {
        args.boards
    };
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
