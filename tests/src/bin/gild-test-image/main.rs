//! `make test-image`: the real golden image of each board, from the build to the node that was flashed a second time.
//!
//! Real: the image, its kernel and all its packages, the agent that flashes it, NVMe, network, first boot. Simulated:
//! the hardware and the firmware (docs/virtual-boards.md), Matchbox, k3s and its server, of which there are stubs. The
//! image differs in two things from an operator's: the stub, and a service that tells what became of the node
//! (`tests/image-overlay`).

mod cluster;
mod image;
mod node;
mod proof;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use gild_tests::board_dtb::Product;
use gild_tests::matchbox::Matchbox;
use gild_tests::scene::Scene;
use gild_tests::virtual_board::End;
use gild_tests::{disk, firmware, workspace};

use crate::cluster::{Cluster, TOKEN};
use crate::node::Report;

/// A disk that is larger than any image, so that the root has something to grow to.
const DISK_SIZE: u64 = 8 << 30;
/// Containers aside, this is what a node needs at least.
const MEMORY: u32 = 2048;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match chosen(&arguments).and_then(|products| products.into_iter().try_for_each(one_board)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gild-test-image: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn chosen(names: &[String]) -> Result<Vec<Product>> {
    if names.is_empty() {
        return Ok(Product::SUPPORTED.to_vec());
    }
    let find = |name: &String| {
        let mut products = Product::SUPPORTED.into_iter();
        products.find(|product| product.name() == name)
    };
    names
        .iter()
        .map(|name| {
            find(name).with_context(|| format!("no virtual board `{name}`: rpi5 and rock5b"))
        })
        .collect()
}

fn one_board(product: Product) -> Result<()> {
    let story = Story::new(product);
    let directory = workspace::fresh(&format!("image-{}-made", product.name()))?;
    let cluster = Cluster::start()?;
    let groups = directory.join("matchbox/groups");
    cluster::write_group(&groups, product, &cluster)?;
    let matchbox = Matchbox::start(&directory.join("matchbox"))?;

    let share = image::build(product, &matchbox.url_at(image::HOST), &directory)?;
    story.tell(&format!(
        "image {} is built, sealed and verified",
        share.golden.image_id
    ));
    let mut scene = Scene::with_share(&format!("image-{}", product.name()), product, share)?;
    disk::blank(&scene.nvme(), DISK_SIZE)?;

    let outcome = both_flashes(&mut scene, &cluster, &matchbox, &story);
    if outcome.is_err() {
        scene.keep();
    }
    outcome
}

fn both_flashes(
    scene: &mut Scene,
    cluster: &Cluster,
    matchbox: &Matchbox,
    story: &Story,
) -> Result<()> {
    let product = scene.hardware.product;
    let secrets = [TOKEN, cluster::NODE_PASSWORD];

    flash(scene, story)?;
    let first = node::boot(scene, 1, &secrets)?;
    story.tell(&format!("first boot: {}", first.one("time")?));
    let image_id = scene.share.golden.image_id.clone();
    proof::a_node_of_this_image(&first, product, &image_id, &scene.nvme())?;
    proof::joined_once(scene, cluster, matchbox, 1)?;

    let second = node::boot(scene, 2, &secrets)?;
    story.tell(&format!("second boot: {}", second.one("time")?));
    proof::same_node(&first, &second)?;
    proof::joined_once(scene, cluster, matchbox, 2)?;
    ensure!(
        firmware::boot_from_disk(product, &scene.nvme(), scene.path()).is_err(),
        "the disk still boots after gild-reprovision"
    );
    story.tell("gild-reprovision has made the disk unbootable");

    flash(scene, story)?;
    let again = node::boot(scene, 1, &secrets)?;
    story.tell(&format!(
        "first boot after the second flash: {}",
        again.one("time")?
    ));
    proof::a_node_of_this_image(&again, product, &image_id, &scene.nvme())?;
    proof::same_place_other_identity(&first, &again)?;
    ensure!(
        cluster.joins().len() == 3 && cluster.refused().is_empty(),
        "the stub server let in {:?} and refused {:?}",
        cluster.joins(),
        cluster.refused()
    );
    ensure!(
        matchbox.requests().len() == 2,
        "Matchbox was asked {:?}",
        matchbox.requests()
    );
    story.tell("the flashed node has its old place in the stub cluster");
    Ok(())
}

fn flash(scene: &mut Scene, story: &Story) -> Result<()> {
    // The card's kernel and agent need what a card needs.
    scene.hardware.memory = 512;
    let mut board = scene.power_on()?;
    board.wait_for("gild: done, rebooting", node::PATIENCE)?;
    let end = board.wait_end(node::PATIENCE)?;
    ensure!(
        end == End::Reset,
        "the agent was to reboot, and ended with {end:?}"
    );
    let receipt = scene.receipt()?;
    if receipt["outcome"] != "flashed" {
        bail!("the agent did not flash: {receipt}");
    }
    scene.hardware.memory = MEMORY;
    story.tell("flashed by the agent");
    Ok(())
}

/// What happens, for whoever waits.
struct Story {
    product: Product,
    start: Instant,
}

impl Story {
    fn new(product: Product) -> Self {
        Self {
            product,
            start: Instant::now(),
        }
    }

    fn tell(&self, what: &str) {
        let seconds = self.start.elapsed().as_secs();
        println!("{:>6} {seconds:>5} s  {what}", self.product.name());
    }
}

impl Report {
    /// The only value of a key.
    pub fn one(&self, key: &str) -> Result<&str> {
        match self.all(key)[..] {
            [value] => Ok(value),
            ref values => bail!("the node told {key} {} times", values.len()),
        }
    }
}
