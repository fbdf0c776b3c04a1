//! `gild`, the workstation's tool: makes, checks and publishes golden images, and builds what goes on the card.

mod flash;
mod initramfs;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Makes, checks and publishes golden images.
#[derive(Debug, Parser)]
#[command(name = "gild", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a golden image to a disk of this machine
    Flash(flash::Args),
    /// The flasher's initramfs
    #[command(subcommand)]
    Initramfs(Initramfs),
}

#[derive(Debug, Subcommand)]
enum Initramfs {
    /// Build the initramfs from a kernel and the agent
    Build(initramfs::Args),
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gild: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Flash(args) => flash::run(args),
        Command::Initramfs(Initramfs::Build(args)) => initramfs::run(args),
    }
}
