//! `make test-desk`: two bare boards become members of a cluster with nothing but `gild init`, `gild node add`, `gild image build`, `gild
//! card build` and `gild serve`. It needs no NFS server, no Matchbox and no root.
//!
//! Real: all commands of gild, the image with its packages, the card and the agent on it, the desk with its three ports and TLS, NVMe,
//! network and first boot, and on the Rock 5B a U-Boot. Simulated: the hardware, the firmware of the Pi 5 (docs/virtual-boards.md), k3s and
//! its server: stubs replace both. The image differs from an operator's in three things: the stub, the service of `tests/image-overlay`,
//! and QEMU's serial port on the kernel's command line.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gild_tests::board_dtb::Product;
use gild_tests::chain::{Chain, Watch};
use gild_tests::cluster::Cluster;
use gild_tests::desk::Desk;
use gild_tests::pi5::Medium;
use gild_tests::real_image::{AUTHORIZED_KEY, HOST, build_for_desk};
use gild_tests::scene::Scene;
use gild_tests::{disk, workspace};

/// A disk that is larger than any image.
const DISK_SIZE: u64 = 8 << 30;
const MEMORY: u32 = 2048;
/// A boot takes 2 minutes on a quiet machine and 10 on a busy one. Nothing is measured with it.
const PATIENCE: Duration = Duration::from_mins(25);
const PASSWORD: &str = "s3cret-of-the-cluster";

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    match run(&names) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gild-test-desk: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(names: &[String]) -> Result<()> {
    let products = if names.is_empty() {
        Product::SUPPORTED.to_vec()
    } else {
        names
            .iter()
            .map(|name| Product::named(name))
            .collect::<Result<_>>()?
    };
    let start = Instant::now();
    let say = |what: &str| println!("{:>5} s  {what}", start.elapsed().as_secs());
    let directory = workspace::fresh("desk-made")?;
    let cluster = Cluster::serve(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)?;
    cluster.accept(PASSWORD);
    let desk = init(&directory, &cluster)?;
    say("gild init: keys, certificates, the card's configuration");
    for product in &products {
        desk.add_node(product.mac(), product.name())?;
    }
    for product in &products {
        build_for_desk(*product, &directory, &desk.path("."))?;
        say(&format!("gild image build: {}", product.name()));
    }
    let serving = desk.serve()?;
    for product in products {
        joins(product, &desk, &cluster, &say)
            .with_context(|| format!("the {} did not join", product.name()))?;
    }
    drop(serving);
    Ok(())
}

fn init(directory: &Path, cluster: &Cluster) -> Result<Desk> {
    let (token, keys) = (directory.join("token"), directory.join("id.pub"));
    fs::write(&token, cluster.token(PASSWORD))?;
    fs::write(&keys, format!("{AUTHORIZED_KEY}\n"))?;
    let url = format!("https://{HOST}:{}", cluster.port());
    Desk::init(
        &directory.join("desk"),
        &HOST.to_string(),
        &url,
        &token,
        &keys,
    )
}

/// Applies power once. Nobody touches the board.
fn joins(product: Product, desk: &Desk, cluster: &Cluster, say: &dyn Fn(&str)) -> Result<()> {
    let (name, mac) = (product.name(), product.mac());
    let secret = cluster.token(PASSWORD);
    let mut scene = Scene::new(&format!("desk-{name}"), product)?;
    disk::blank(&scene.nvme(), DISK_SIZE)?;
    scene.hardware.memory = MEMORY;
    scene.use_firmware()?;
    scene
        .card
        .write("gild.toml", &fs::read_to_string(desk.path("gild.toml"))?)?;
    ensure!(
        !desk.metadata(mac)?.contains(&secret),
        "the desk gives the token of {name} before anybody has flashed it"
    );
    let watch = Watch {
        patience: PATIENCE,
        show: None,
        failure: None,
    };
    let mut chain = Chain::power_on(&mut scene, Medium::Card, watch)?;
    chain.wait_for("gild: progress ")?;
    chain.wait_for("gild: rebooting to start the disk")?;
    let node = desk.node(mac)?;
    ensure!(
        node["trust"] == "card",
        "the desk does not know that its card speaks: {node}"
    );
    ensure!(
        node["door"]["state"] == "open",
        "the door is not open: {node}"
    );
    say(&format!("{name}: flashed, and the desk knows it"));
    chain.restart(Medium::Nvme, |_, _| Ok(()))?;
    chain.wait_for("the cluster has let this node in")?;
    let node = is_seen(desk, mac, "joined")?;
    ensure!(
        node["hostname"] == name && node["trust"] == "node",
        "the desk shows {node}"
    );
    ensure!(
        !desk.metadata(mac)?.contains(&secret),
        "the desk gives the token of a member to anyone who asks"
    );
    ensure!(
        !chain.console().contains(PASSWORD),
        "the token is on the console"
    );
    let history: Vec<_> = node["history"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|event| event["text"].to_string())
        .collect();
    say(&format!(
        "{name}: joined. What the desk saw: {}",
        history.join(", ")
    ));
    Ok(())
}

/// Waits until the desk shows this state, because a report takes a moment. Returns what it shows.
fn is_seen(desk: &Desk, mac: &str, state: &str) -> Result<serde_json::Value> {
    let end = Instant::now() + Duration::from_mins(3);
    loop {
        let node = desk.node(mac)?;
        if node["state"] == state {
            return Ok(node);
        }
        ensure!(
            Instant::now() < end,
            "the desk does not show {state}: {node}"
        );
        std::thread::sleep(Duration::from_secs(1));
    }
}
