//! `gild card`: the SD card that starts the flasher on either board.

mod build;
mod inspect;
mod new_key;
pub mod settings;
mod write;

use clap::Subcommand;

/// What a card image is called, and where it comes from.
pub const IMAGE: (&str, &str) = (
    "the card",
    "give a card image of `gild card build` or `make card`, or the device of a card",
);

/// Build, check and write the flasher card, and change its key
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a card image for both boards
    Build(build::Args),
    /// Say what is on a card or a card image, and whether it is whole
    Inspect(inspect::Args),
    /// Write a card image to an SD card of this machine
    Write(write::Args),
    /// Give a desk and its cards another `status_key`, because a card is lost
    NewKey(new_key::Args),
}

/// Runs `gild card`.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Build(args) => build::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Write(args) => write::run(&args),
        Command::NewKey(args) => new_key::run(&args),
    }
}
