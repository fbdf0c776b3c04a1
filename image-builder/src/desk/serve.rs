//! `gild serve`: runs the desk.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use anyhow::{Result, ensure};

/// Arguments of `gild serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that `gild init` made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Address of this machine to listen on; by default all of them
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V6(Ipv6Addr::UNSPECIFIED))]
    listen: IpAddr,
}

/// Runs `gild serve`.
pub fn run(args: &Args) -> Result<()> {
    ensure!(
        args.folder.is_dir(),
        "{} is not a folder; next: make one: gild init {}",
        args.folder.display(),
        args.folder.display()
    );
    gild_desk::serve::serve(&args.folder, args.listen)
}
