//! `make fleet`: many nodes read an image from one server at once, over one shaped link.
//!
//! Real: the agent's readers with its connections, one network stack for each node (namespaces), the server, the link's queue. Left out:
//! what a node does with the bytes (decoding, hashing, writing), because a hundred nodes would do it on this machine's few cores. So all
//! times are those of network and server.

mod node;
mod race;
mod table;

use anyhow::{Context, Result, bail, ensure};
use gild_tests::ganesha::{Export, Ganesha};
use gild_tests::nginx::Nginx;
use gild_tests::{processor_time, rack};

use crate::node::Outcome;
use crate::table::Row;

/// How many nodes run at a time, unless the caller asks for other numbers.
const FLEETS: [usize; 4] = [1, 8, 30, 100];
/// The rate of the only link from the server to the nodes, bits a second.
const LINK: u64 = 1_000_000_000;
/// The first word of the process in the namespace.
const INSIDE: &str = "inside";
/// How many bytes go over the link in one run, for all nodes together. No node reads more than the image.
const BYTES: u64 = 4 << 30;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["node", url, bytes] => node::run(url, bytes.parse()?),
        [INSIDE, ref fleets @ ..] => inside(&numbers(fleets)?),
        ref fleets => {
            let fleets = numbers(fleets)?;
            let fleets = if fleets.is_empty() {
                FLEETS.to_vec()
            } else {
                fleets
            };
            let mut inside = vec![INSIDE.to_owned()];
            inside.extend(fleets.iter().map(ToString::to_string));
            rack::enter(&inside)
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

/// In a separate network, which ends with this process.
fn inside(fleets: &[usize]) -> Result<()> {
    let most = fleets.iter().copied().max().unwrap_or(1);
    rack::build(most, LINK)?;
    let folder = tempfile::tempdir()?;
    let image = std::fs::File::create(folder.path().join(node::IMAGE))?;
    image.set_len(node::SIZE)?;
    println!(
        "link: 1 Gbit/s from the server; {most} network stacks; {}",
        table::machine()?
    );
    table::head();

    let nginx = Nginx::serve_on(rack::SERVER, folder.path())?;
    let plain = Served::new("HTTP, nginx", nginx.url(), nginx.process());
    run_all(&plain, fleets)?;

    let cache = Nginx::cache_on(rack::SERVER, &nginx.url())?;
    let warm = Served::new("HTTP, nginx as a warm cache", cache.url(), cache.process());
    run_all(&warm, fleets)?;

    let export = Export {
        address: rack::SERVER.parse()?,
        ..Export::default()
    };
    let ganesha = Ganesha::start_as(folder.path(), export)?;
    let process = ganesha.process().context("nfs-ganesha is not running")?;
    let nfs = Served::new("NFS, nfs-ganesha", ganesha.url(), process);
    run_all(&nfs, fleets)
}

/// A server that runs.
struct Served {
    name: &'static str,
    share: String,
    process: u32,
}

impl Served {
    fn new(name: &'static str, share: String, process: u32) -> Self {
        Self {
            name,
            share,
            process,
        }
    }
}

fn run_all(server: &Served, fleets: &[usize]) -> Result<()> {
    let mut alone = None;
    // Read once before measuring, so that nothing comes from a disk or from behind a cache while time counts.
    one(server, 1)?;
    for nodes in fleets {
        let row = one(server, *nodes)?;
        let alone = *alone.get_or_insert(row.total());
        table::row(server.name, &row, alone);
    }
    Ok(())
}

fn one(server: &Served, nodes: usize) -> Result<Row> {
    let bytes = (BYTES / nodes as u64).min(node::SIZE) >> 20 << 20;
    let busy = processor_time::of_tree(server.process)?;
    let outcomes: Vec<Outcome> = race::run(nodes, &server.share, bytes)?;
    let busy = processor_time::of_tree(server.process)?.saturating_sub(busy);
    ensure!(
        outcomes.len() == nodes,
        "{} of {nodes} nodes answered",
        outcomes.len()
    );
    if let Some(short) = outcomes.iter().find(|outcome| outcome.bytes != bytes) {
        bail!("a node read {} of {bytes} bytes", short.bytes);
    }
    Ok(Row {
        outcomes,
        busy,
        link: LINK,
    })
}
