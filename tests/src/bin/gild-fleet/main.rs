//! `make fleet`: many nodes read an image from one server at once, over one shaped link.
//!
//! Real: the agent's readers with the agent's connections, one network stack for each node (namespaces), the server, the link's
//! queue. Left out: what a node does with the bytes (decoding, hashing, writing), because a hundred nodes would do it on this
//! machine's few cores; so all times are those of network and server.

mod node;
mod rack;
mod table;

use anyhow::{Context, Result, bail, ensure};
use gild_tests::nginx::Nginx;

use crate::node::Outcome;
use crate::rack::{Link, Rack};
use crate::table::Row;

/// Nodes that are on at once, unless others are asked for.
const FLEETS: [usize; 4] = [1, 8, 30, 100];
/// What goes over the link in one run, all nodes together, as long as no node reads more than the image.
const BYTES: u64 = 4 << 30;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["node", url, bytes] => node::run(url, bytes.parse()?),
        [rack::INSIDE, ref fleets @ ..] => inside(&numbers(fleets)?),
        ref fleets => {
            let fleets = numbers(fleets)?;
            Rack::enter(if fleets.is_empty() { &FLEETS } else { &fleets })
        }
    }
}

fn numbers(words: &[&str]) -> Result<Vec<usize>> {
    let number =
        |word: &&str| {
            word.parse().ok().filter(|nodes| (1..=200).contains(nodes)).with_context(|| {
            format!("`{word}` is not a number of nodes from 1 to 200; next: gild-fleet [NODES]...")
        })
        };
    words.iter().map(number).collect()
}

/// In a network of its own, which ends with this process.
fn inside(fleets: &[usize]) -> Result<()> {
    let most = fleets.iter().copied().max().unwrap_or(1);
    let rack = Rack::build(most)?;
    let folder = tempfile::tempdir()?;
    let image = std::fs::File::create(folder.path().join(node::IMAGE))?;
    image.set_len(node::SIZE)?;
    let server = Nginx::serve_on(rack::SERVER, folder.path())?;
    println!(
        "link: 1 Gbit/s from the server; {most} network stacks, nginx, {}",
        table::machine()?
    );
    table::head();
    run_all("nginx", &rack, &server, fleets)?;
    let cache = Nginx::cache_on(rack::SERVER, &server.url_at(rack::SERVER))?;
    run_all("its cache, warm", &rack, &cache, fleets)
}

fn run_all(name: &str, rack: &Rack, server: &Nginx, fleets: &[usize]) -> Result<()> {
    let mut alone = None;
    // Once, so that nothing is read from a disk or from behind a cache while it counts.
    one(rack, server, 1)?;
    for nodes in fleets {
        let row = one(rack, server, *nodes)?;
        let alone = *alone.get_or_insert(row.total());
        table::row(name, &row, alone);
    }
    Ok(())
}

fn one(rack: &Rack, server: &Nginx, nodes: usize) -> Result<Row> {
    let bytes = (BYTES / nodes as u64).min(node::SIZE) >> 20 << 20;
    let url = server.url_at(rack::SERVER);
    let busy = server.processor_time()?;
    let outcomes: Vec<Outcome> = rack.run(nodes, &url, bytes)?;
    ensure!(
        outcomes.len() == nodes,
        "{} of {nodes} nodes answered",
        outcomes.len()
    );
    if let Some(short) = outcomes.iter().find(|outcome| outcome.bytes != bytes) {
        bail!("a node read {} of {bytes} bytes", short.bytes);
    }
    let busy = server.processor_time()?.saturating_sub(busy);
    Ok(Row {
        outcomes,
        busy,
        link: Link::RATE,
    })
}
