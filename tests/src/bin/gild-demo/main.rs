//! `make demo`: virtual boards from power-on with an empty disk to the first line of their golden image, with a changed boot order. A
//! second power-on then goes straight to the disk. With `FAULT=` it shows a fault on the way instead (fault.rs).
//!
//! Kernel, card, agent, golden image, disks and network are real; the hardware is QEMU's. This program plays the firmware of
//! the Pi 5, and Debian's U-Boot for QEMU plays the Rock 5B's (docs/virtual-boards.md).

mod fault;
mod led;
mod order;
mod recording;
mod screen;
mod summary;

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gild_tests::board_dtb::Product;
use gild_tests::chain::{Chain, Watch};
use gild_tests::pi5::Medium;
use gild_tests::scene::{PATIENCE, Scene};
use serde_json::Value;

use crate::fault::Fault;
use crate::order::Order;
use crate::summary::{Summary, verdict};

const WATCH: Watch = Watch {
    patience: PATIENCE,
    show: Some(screen::console),
    failure: None,
};
/// The first line of the golden image.
const GOLDEN: &str = "golden: image";

fn main() -> ExitCode {
    match demo(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!(
                "gild-demo: {error:#}; next: run it again, and if it fails again, report it with all that was shown"
            );
            ExitCode::FAILURE
        }
    }
}

fn demo(arguments: &[String]) -> Result<()> {
    let wanted = Wanted::by(arguments)?;
    let mut ends = Vec::new();
    let mut summaries = Vec::new();
    for product in wanted.products() {
        let name = product.name();
        match wanted.fault {
            Some(fault) => ends.push(fault::show(fault, product).context(name)?),
            None => summaries.push(one_board(product).context(name)?),
        }
    }
    let shown = screen::end();
    if let Some(file) = wanted.recording {
        fs::write(&file, shown.svg()).with_context(|| format!("writing {file}"))?;
    }
    for summary in &summaries {
        summary.print();
    }
    if wanted.fault.is_none() {
        let products: Vec<_> = summaries.iter().map(|summary| summary.product).collect();
        ends.push(verdict(&products));
    }
    for end in ends {
        println!("\n{end}");
    }
    println!("{}", summary::NEXT);
    Ok(())
}

/// What the demo is to show.
#[derive(Default)]
struct Wanted {
    /// None stands for all that are supported.
    boards: Vec<Product>,
    fault: Option<Fault>,
    recording: Option<String>,
}

impl Wanted {
    fn by(arguments: &[String]) -> Result<Self> {
        let mut wanted = Self::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .with_context(|| format!("{word} needs a value"))
            };
            match word.as_str() {
                "--recording" => wanted.recording = Some(value()?.clone()),
                "--fault" => wanted.fault = Some(Fault::named(value()?)?),
                board => wanted.boards.push(Product::named(board)?),
            }
        }
        Ok(wanted)
    }

    fn products(&self) -> Vec<Product> {
        match self.boards.as_slice() {
            [] => Product::SUPPORTED.to_vec(),
            boards => boards.to_vec(),
        }
    }
}

/// One board's way from bare to node.
fn one_board(product: Product) -> Result<Summary> {
    let say = |text: &str| screen::say(product.name(), text);
    say(screen::PREPARING);
    let mut scene = Scene::new(&format!("demo-{}", product.name()), product)?;
    use_firmware(&mut scene)?;
    let before = Order::of(&scene)?;
    ensure!(!before.is_nvme_first(), "the board has the disk first");

    say(&format!(
        "power on, card in the slot; the boot order is {before}"
    ));
    let start = Instant::now();
    let chain = Chain::power_on(&mut scene, Medium::Card, WATCH)?;
    let first = ends_well(chain, start)?;

    say(&format!(
        "power off, and on again; the boot order is {}",
        first.order
    ));
    let start = Instant::now();
    let mut chain = Chain::power_on(&mut scene, Medium::Nvme, WATCH)?;
    chain.wait_for(GOLDEN)?;
    let again = start.elapsed();
    let console = chain.power_off()?;
    ensure!(
        !console.contains("gild: agent"),
        "the second power-on started the agent's card"
    );
    say("the board went straight to its disk");
    Ok(Summary {
        product,
        before,
        first,
        again,
    })
}

/// Gives the board its firmware, and says whose it is.
fn use_firmware(scene: &mut Scene) -> Result<()> {
    scene.use_firmware()?;
    let product = scene.hardware.product;
    screen::say(product.name(), order::who_plays_the_firmware(product));
    if let Some(expected) = order::expected_complaints(product) {
        screen::say(product.name(), expected);
    }
    Ok(())
}

/// How the first power-on ended.
struct End {
    /// From the power-on until the agent was done.
    flashed: Duration,
    /// From the power-on to the golden image's first line.
    golden: Duration,
    /// What the firmware looks at first now.
    order: Order,
    /// What the agent left on the card.
    receipt: Value,
}

/// Waits until the agent is done and the board has started its image from the disk, and has switched itself off.
fn ends_well(mut chain: Chain, start: Instant) -> Result<End> {
    let product = chain.scene().hardware.product;
    chain.wait_for("gild: done, rebooting")?;
    let flashed = start.elapsed();
    let receipt = chain.restart(Medium::Nvme, |scene, _| {
        scene.assert_disk_is_the_image()?;
        scene.receipt()
    })?;
    is_without_fault(&receipt)?;
    let order = Order::of(chain.scene())?;
    ensure!(
        order.is_nvme_first(),
        "the boot order was not changed: it is {order}"
    );
    screen::say(product.name(), order::who_changed_it(product));
    chain.wait_for(GOLDEN)?;
    let golden = start.elapsed();
    chain.power_off()?;
    Ok(End {
        flashed,
        golden,
        order,
        receipt,
    })
}

fn is_without_fault(receipt: &Value) -> Result<()> {
    ensure!(
        receipt["outcome"] == "flashed" && receipt["fault"].is_null(),
        "the agent did not flash, or reports a fault: {receipt}"
    );
    let order = receipt["boot_order"].as_str().unwrap_or_default();
    ensure!(
        ["staged", "written"].contains(&order),
        "the agent did not change the boot order: {receipt}"
    );
    Ok(())
}
