//! `gild order show`: what an order does, to whom, until when.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use gild_desk::desk::now;
use gild_desk::orders::{Keys, acts};
use gild_orders::{Action, MAX_LENGTH, Order, SignedOrder};
use jiff::Timestamp;

use super::rack::Desk;
use crate::image::read_key;
use crate::input::{must_be_regular, text_in};

/// Arguments of `gild order show`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File of a draft or of a signed order: `<id>.json` or `<id>.order`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Public key that the signature is checked with, as a file or as its line [default: the one that counts at the desk]
    #[arg(long, value_name = "PUB")]
    key: Option<String>,
    /// Folder that `gild init` made: names the boards [default: the one in whose folder orders/ the file is]
    #[arg(long, value_name = "DIR")]
    desk: Option<PathBuf>,
}

/// Runs `gild order show`.
pub fn run(args: &Args) -> Result<()> {
    let desk = match &args.desk {
        Some(folder) => Some(Desk::open(folder)?),
        None => Desk::around(&args.file),
    };
    let text = text(&args.file)?;
    let (order, key) = match SignedOrder::parse(text.as_bytes()) {
        Ok(signed) => {
            let of = of_signed(&signed, args.key.as_deref(), desk.as_ref());
            let (order, key) =
                of.with_context(|| format!("{} is not an order that counts", args.file.display()))?;
            (order, Some(key))
        }
        Err(_) => (draft(&args.file, &text, args.key.is_some())?, None),
    };
    print!("{}", words(&order, desk.as_ref())?);
    if let Some(key) = key {
        println!("  signed   by {key}: the signature is good");
    }
    ensure!(
        order.counts_at(now()),
        "it does not count any more; next: make another one"
    );
    Ok(())
}

fn text(file: &Path) -> Result<String> {
    must_be_regular(file, "the order", "give a file of a desk's folder orders/")?;
    let context = || format!("cannot read {}", file.display());
    let mut bytes = Vec::new();
    File::open(file)
        .with_context(context)?
        .take(MAX_LENGTH as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(context)?;
    Ok(text_in(bytes, file, "the order")?)
}

/// What was signed, and the key, as it was given. It is shown to who says with which key: anything else could be anybody's.
fn of_signed(
    signed: &SignedOrder,
    key: Option<&str>,
    desk: Option<&Desk>,
) -> Result<(Order, String)> {
    match (key, desk) {
        (Some(key), _) => Ok((signed.open(&[&read_key(key)?])?, key.to_owned())),
        (None, Some(desk)) => {
            let order = signed.open(&Keys::read(&desk.folder)?.all())?;
            Ok((order, Keys::path(&desk.folder)?.display().to_string()))
        }
        (None, None) => bail!("nobody said who is to have signed it; next: give --key or --desk"),
    }
}

fn draft(file: &Path, text: &str, is_checked: bool) -> Result<Order> {
    let order = Order::parse(text).with_context(|| {
        format!(
            "{} is neither a draft nor a signed order; next: give a file of a desk's folder orders/",
            file.display()
        )
    })?;
    if is_checked {
        bail!(
            "{} is a draft: nobody has signed it; next: gild order sign {0} --key site.key",
            file.display()
        );
    }
    log::info!("this is a draft: nobody has signed it");
    Ok(order)
}

/// All that an order says, in words. Each node is named: who signs is to see them all.
pub fn words(order: &Order, desk: Option<&Desk>) -> Result<String> {
    let mut words = format!("order {}\n", order.id);
    writeln!(words, "  does     {}", acts(&order.action))?;
    if matches!(order.action, Action::Flash(_)) {
        writeln!(words, "           all data on these disks is lost")?;
    }
    let expires = i64::try_from(order.expires).map(Timestamp::from_second);
    let expires = match expires {
        Ok(Ok(time)) => time.strftime("%F %T UTC").to_string(),
        _ => format!("{} seconds after 1970", order.expires),
    };
    writeln!(words, "  counts   until {expires}")?;
    for (number, mac) in (1..).zip(&order.nodes) {
        let title = if number == 1 { "to" } else { "" };
        let name = desk.and_then(|desk| desk.name(*mac)).unwrap_or_default();
        // A name comes from a file that may hold what a terminal obeys.
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        let line = format!("  {title:<8} {number:>4}. {mac}  {name}");
        writeln!(words, "{}", line.trim_end())?;
    }
    Ok(words)
}
