//! `gild`, the workstation's tool: makes, checks and publishes golden images, and builds what goes on the card.

mod board;
mod card;
mod firmware;
mod flash;
mod image;
mod initramfs;
mod input;
mod key;
mod parallel;
mod progress;
mod source_date;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use gild_faults::{Fault, HasFault};
use gild_flash::FlashError;
use gild_format::ManifestError;
use gild_format::chunk::ChunkError;
use gild_format::signature::SignatureError;

/// Exit code of a wrong command line (`EX_USAGE`).
const USAGE: u8 = 64;
/// Exit code of a failure that is none of the faults.
const FAILURE: u8 = 10;

/// Makes, checks and publishes golden images, and builds what goes on the flasher card.
#[derive(Debug, Parser)]
#[command(name = "gild", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Golden images
    #[command(subcommand)]
    Image(image::Command),
    /// The flasher card
    #[command(subcommand)]
    Card(card::Command),
    /// Firmware files of the boards
    #[command(subcommand)]
    Firmware(firmware::Command),
    /// Signing keys
    #[command(subcommand)]
    Key(key::Command),
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
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format(|out, record| writeln!(out, "gild: {}", record.args()))
        .init();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to be said when stderr is gone.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gild: {}", gild_faults::message(error.as_ref()));
            ExitCode::from(fault(&error).map_or(FAILURE, Fault::number))
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Image(command) => image::run(command),
        Command::Card(command) => card::run(command),
        Command::Firmware(command) => firmware::run(command),
        Command::Key(command) => key::run(command),
        Command::Flash(args) => flash::run(&args),
        Command::Initramfs(Initramfs::Build(args)) => initramfs::run(args),
    }
}

/// The fault that an error stands for: the exit code is then the number a node would blink.
fn fault(error: &anyhow::Error) -> Option<Fault> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<FlashError>() {
            Some(error.fault())
        } else if let Some(refused) = cause.downcast_ref::<flash::Refused>() {
            Some(refused.fault())
        } else if cause.is::<gild_nfs::NfsError>() {
            Some(Fault::ServerUnreachable)
        } else if cause.is::<ManifestError>() || cause.is::<SignatureError>() {
            Some(Fault::ManifestRefused)
        } else if cause.is::<ChunkError>() {
            Some(Fault::ImageCorrupt)
        } else {
            None
        }
    })
}
