//! `gild order`: what boards are to do, signed.

mod cancel;
mod list;
mod new;
mod rack;
mod show;
mod sign;

use anyhow::Result;
use clap::Subcommand;

/// Have boards write their disks again, hold, or show which they are
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Queue an order in a desk's folder; it counts when it is signed
    New(new::Args),
    /// Show in words what orders do and to which boards, and sign them
    Sign(sign::Args),
    /// List a desk's orders, how far each node is with them, and what was done with the login
    List(list::Args),
    /// Show what an order does, to which boards, and whether its signature counts
    Show(show::Args),
    /// Take an order back from a desk's folder
    Cancel(cancel::Args),
}

/// Runs `gild order`.
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::New(args) => new::run(&args),
        Command::Sign(args) => sign::run(&args),
        Command::List(args) => list::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Cancel(args) => cancel::run(&args),
    }
}
