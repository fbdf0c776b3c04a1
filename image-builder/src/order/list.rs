//! `gild order list`: a desk's orders, and how far each node is.

use std::path::PathBuf;

use anyhow::Result;
use gild_desk::desk::now;
use gild_desk::orders::{NodeShown, OrderShown, for_page};
use jiff::Timestamp;
use serde_json::json;

use super::rack::Desk;

/// Arguments of `gild order list`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that `gild init` made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// List what was done with the login instead: when, from which address, what
    #[arg(long)]
    audit: bool,
    /// Print JSON: an object with `orders`, or with --audit an array of what was done
    #[arg(long)]
    json: bool,
}

/// Runs `gild order list`.
pub fn run(args: &Args) -> Result<()> {
    let desk = Desk::open(&args.folder)?;
    let rack = desk.rack()?;
    if args.audit {
        let acts = rack.audit().acts();
        if args.json {
            println!("{}", serde_json::to_string_pretty(acts)?);
            return Ok(());
        }
        if acts.is_empty() {
            log::info!("nothing was done with the login yet");
        }
        for act in acts {
            println!("{}  {}  {}", time(act.at), act.from, act.text);
        }
        return Ok(());
    }
    let orders = for_page(&desk.orders()?, &rack, now(), |mac| desk.name(mac));
    if args.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&json!({"orders": orders}))?
        );
        return Ok(());
    }
    if orders.is_empty() {
        log::info!("there are no orders");
    }
    for order in &orders {
        print(order);
    }
    Ok(())
}

fn print(order: &OrderShown) {
    let says = order.says.as_deref().unwrap_or("?");
    println!("{}  {}  {says}", order.id, order.state);
    if let Some(why) = &order.why {
        println!("  {}", plain(why));
    }
    for node in &order.nodes {
        println!("  {}", plain(&line(node)));
    }
}

fn line(node: &NodeShown) -> String {
    let at = node
        .at
        .map_or_else(String::new, |at| format!("  {}", time(at)));
    let why = node.why.as_deref();
    let why = why.map_or_else(String::new, |why| format!("  {why}"));
    format!("{}  {}{at}{why}", node.name, node.state)
}

fn time(at: u64) -> String {
    let time = i64::try_from(at).map(Timestamp::from_second);
    match time {
        Ok(Ok(time)) => time.strftime("%F %T UTC").to_string(),
        _ => at.to_string(),
    }
}

/// What boards say may have what a terminal obeys.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
