//! `gild order cancel`: takes orders back.

use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use gild_orders::OrderId;

use super::rack::Desk;

/// Arguments of `gild order cancel`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that `gild init` made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Id of the order, as `gild order list` shows it; several for several
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

/// Runs `gild order cancel`.
pub fn run(args: &Args) -> Result<()> {
    let shelf = Desk::open(&args.folder)?.shelf();
    let parse = |id: &String| {
        OrderId::parse(id).ok_or_else(|| {
            anyhow!(
                "{id:?} is not the id of an order; next: give one of `gild order list {}`",
                args.folder.display()
            )
        })
    };
    let ids: Vec<OrderId> = args.ids.iter().map(parse).collect::<Result<_>>()?;
    for id in &ids {
        let was_signed = shelf.signed(id).exists();
        ensure!(
            shelf.remove(id)?,
            "there is no order {id} in {}; next: give one of `gild order list {0}`",
            args.folder.display()
        );
        if was_signed {
            log::warn!(
                "a board that has fetched {id} already may carry it out, and so may anyone who has copied it: it counts until it expires"
            );
        }
        println!("{id}");
    }
    Ok(())
}
