//! The commands of `gild`, the workstation's tool. They are a library so that `gild-docs` writes its pages from them.

// First, because its macros are for all the others.
#[macro_use]
mod say;

mod board;
mod card;
mod check;
mod desk;
mod firmware;
mod flash;
mod image;
mod initramfs;
mod input;
mod key;
mod next_step;
mod order;
mod output;
mod own_files;
mod parallel;
mod progress;
mod published;
mod source_date;

use anyhow::Result;
use clap::{Parser, Subcommand};
use gild_faults::{Fault, HasFault};
use gild_flash::FlashError;
use gild_format::ManifestError;
use gild_format::chunk::ChunkError;
use gild_format::signature::SignatureError;
use gild_share::ShareError;
use gild_source::SourceError;

pub use next_step::message;

/// Exit code of a failure that is none of the faults.
const FAILURE: u8 = 10;

const EXIT_CODES: &str = "\
Exit codes: 0 when all is done, 64 for a wrong command line, the number of the fault that a node would show \
(docs/failures.md), and 10 for any other failure. `gild check` ends with 1 when it has found an error.";

/// Make, check and publish golden images, and build the flasher card
#[derive(Debug, Parser)]
#[command(name = "gild", version, after_long_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build, check and publish golden images
    #[command(subcommand)]
    Image(image::Command),
    /// Build, check and write the flasher card
    #[command(subcommand)]
    Card(card::Command),
    /// Check from the desk what a node will do: configuration, servers of images, metadata server, cluster
    Check(Box<check::Args>),
    /// Check the boards' firmware files, and change their settings
    #[command(subcommand)]
    Firmware(firmware::Command),
    /// Make and show the keys that sign golden images
    #[command(subcommand)]
    Key(key::Command),
    /// Write a golden image to a disk of this machine
    Flash(flash::Args),
    /// Make the folder of a desk: keys, certificates, the cards' configuration and the cluster's token
    Init(desk::init::Args),
    /// Run the desk of a rack: serve images and identities, hear the boards, show where each of them is
    Serve(desk::serve::Args),
    /// Add nodes to a desk, list them, open and close their doors
    #[command(subcommand)]
    Node(desk::node::Command),
    /// Have boards write their disks again, hold, or show which they are: signed orders
    #[command(subcommand)]
    Order(order::Command),
    /// Build the initramfs of the flasher card
    #[command(subcommand)]
    Initramfs(Initramfs),
}

#[derive(Debug, Subcommand)]
enum Initramfs {
    /// Build the initramfs from a kernel and the agent
    Build(initramfs::Args),
}

/// Runs what the command line asks for.
pub fn run(cli: Cli) -> Result<()> {
    run_command(cli.command)?;
    Ok(say::finish()?)
}

fn run_command(command: Command) -> Result<()> {
    match command {
        Command::Image(command) => image::run(command),
        Command::Card(command) => card::run(command),
        Command::Check(args) => check::run(&args),
        Command::Firmware(command) => firmware::run(command),
        Command::Key(command) => key::run(command),
        Command::Flash(args) => flash::run(&args),
        Command::Init(args) => desk::init::run(&args),
        Command::Serve(args) => desk::serve::run(&args),
        Command::Node(command) => desk::node::run(command),
        Command::Order(command) => order::run(command),
        Command::Initramfs(Initramfs::Build(args)) => initramfs::run(args),
    }
}

/// The error of a command whose output could not be printed.
#[must_use]
pub fn unsaid(error: std::io::Error) -> anyhow::Error {
    say::Unsaid(error).into()
}

/// The exit code for an error: the number of the fault that a node would show, what a command says itself, or else 10.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<check::Found>() {
        return check::FOUND;
    }
    fault(error).map_or(FAILURE, Fault::number)
}

/// The fault that an error stands for, if any.
fn fault(error: &anyhow::Error) -> Option<Fault> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<FlashError>() {
            Some(error.fault())
        } else if let Some(refused) = cause.downcast_ref::<flash::Refused>() {
            Some(refused.fault())
        } else if let Some(error) = cause.downcast_ref::<ShareError>() {
            Some(error.fault())
        } else if let Some(error) = cause.downcast_ref::<SourceError>() {
            Some(error.fault())
        } else if cause.is::<ManifestError>() || cause.is::<SignatureError>() {
            Some(Fault::ManifestRefused)
        } else if cause.is::<ChunkError>() {
            Some(Fault::ImageCorrupt)
        } else {
            None
        }
    })
}
