//! `make demo`: virtual boards from power-on with an empty disk to the first line of their golden image, with the boot
//! order changed; and then a second power-on, which goes straight to the disk.
//!
//! Kernel, card, agent, golden image, disks and network are real; the hardware is QEMU's. This program plays the firmware of
//! the Pi 5, and Debian's U-Boot for QEMU plays the Rock 5B's (docs/virtual-boards.md).

mod order;
mod recording;
mod screen;
mod summary;

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use gild_tests::board_dtb::Product;
use gild_tests::chain::{Chain, Watch};
use gild_tests::pi5::Medium;
use gild_tests::scene::{PATIENCE, Scene};
use serde_json::Value;

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
            eprintln!("gild-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(arguments: &[String]) -> Result<()> {
    let (recording, names) = match arguments {
        [option, file, names @ ..] if option == "--recording" => (Some(file), names),
        names => (None, names),
    };
    let mut summaries = Vec::new();
    for product in chosen(names)? {
        summaries.push(one_board(product).with_context(|| product.name())?);
    }
    let shown = screen::end();
    if let Some(file) = recording {
        fs::write(file, shown.svg()).with_context(|| format!("writing {file}"))?;
    }
    for summary in &summaries {
        summary.print();
    }
    let products: Vec<_> = summaries.iter().map(|summary| summary.product).collect();
    println!("\n{}", verdict(&products));
    Ok(())
}

fn chosen(arguments: &[String]) -> Result<Vec<Product>> {
    if arguments.is_empty() {
        return Ok(Product::SUPPORTED.to_vec());
    }
    arguments.iter().map(|name| Product::named(name)).collect()
}

/// One board's way from bare to node.
fn one_board(product: Product) -> Result<Summary> {
    let say = |text: &str| screen::say(product.name(), text);
    say(
        "preparing: golden image, its publication, a whole card, a blank 512 MiB NVMe disk (built when not there yet: some minutes)",
    );
    let mut scene = Scene::new(&format!("demo-{}", product.name()), product)?;
    scene.use_firmware()?;
    say(order::who_plays_the_firmware(product));
    if let Some(expected) = order::expected_complaints(product) {
        say(expected);
    }
    let before = Order::of(&scene)?;
    ensure!(!before.is_nvme_first(), "the board has the disk first");

    say(&format!(
        "power on, card in the slot; the boot order is {before}"
    ));
    let start = Instant::now();
    let mut chain = Chain::power_on(&mut scene, Medium::Card, WATCH)?;
    chain.wait_for("gild: done, rebooting")?;
    let flashed = start.elapsed();
    let receipt = chain.restart(Medium::Nvme, |scene, _| scene.receipt())?;
    is_without_fault(&receipt)?;
    let after = Order::of(chain.scene())?;
    ensure!(
        after.is_nvme_first(),
        "the boot order was not changed: it is {after}"
    );
    say(order::who_changed_it(product));
    chain.wait_for(GOLDEN)?;
    let golden = start.elapsed();
    chain.power_off()?;

    say(&format!(
        "power off, and on again; the boot order is {after}"
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
        after,
        flashed,
        golden,
        again,
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
