//! `gild serve`: runs the desk.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::PathBuf;

use anyhow::Result;

/// Arguments of `gild serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that `gild init` made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Address of this machine to listen on [default: all of them]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<IpAddr>,
}

/// Runs `gild serve`.
pub fn run(args: &Args) -> Result<()> {
    gild_desk::serve::serve(&args.folder, args.listen.unwrap_or_else(all))
}

/// All addresses: of both kinds, where this machine has IPv6.
fn all() -> IpAddr {
    let both = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    match TcpListener::bind((both, 0)) {
        Ok(_) => both,
        Err(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}
