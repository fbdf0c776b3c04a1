//! `gild image`: a raw disk image becomes a golden image on a share.

mod bmap;
mod build;
mod current;
mod diff;
mod disk;
mod frames;
mod inspect;
mod kept;
mod list;
mod ordered;
mod pack;
mod prune;
mod publish;
mod release;
mod size;
mod verify;

use clap::Subcommand;

pub use release::{PUBLISH_AGAIN, Signed, explain_signature, manifests_in};
pub use verify::{key_file, read_key};

/// Build, check and publish golden images
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a board's golden image from packages or a vendor's image
    Build(Box<build::Args>),
    /// Turn a raw disk image into a signed golden image
    Pack(pack::Args),
    /// Check a golden image against its manifest, and against a raw image or a disk
    Verify(verify::Args),
    /// Look for identities and secrets in a finished image, and for what a node needs
    Inspect(inspect::Args),
    /// Copy a packed golden image to a mounted share
    Publish(publish::Args),
    /// List the images in a folder or on a mounted share
    List(list::Args),
    /// Make another image of a folder the current one, an older one too
    Current(current::Args),
    /// Show which packages and files two images of a folder differ in
    Diff(diff::Args),
    /// Remove old images from a folder or a mounted share
    Prune(prune::Args),
}

/// Runs `gild image`.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Build(args) => build::run(*args),
        Command::Pack(args) => pack::run(args),
        Command::Verify(args) => verify::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Publish(args) => publish::run(&args),
        Command::List(args) => list::run(&args),
        Command::Current(args) => current::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Prune(args) => prune::run(&args),
    }
}
