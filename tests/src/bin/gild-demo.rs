//! `make demo`: virtual boards from power-on to the first line of their golden image.
//!
//! Kernel, agent, golden image, disks and network are real; the hardware is QEMU's, and this program stands in for the
//! board's firmware when it starts the card and later the disk (docs/virtual-boards.md).

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use gild_tests::board_dtb::Product;
use gild_tests::scene::{PATIENCE, Scene};
use gild_tests::virtual_board::{End, VirtualBoard};
use gild_tests::{firmware, flasher};
use serde_json::Value;

/// The agent's stages, in the order of its story.
const STAGES: [&str; 10] = [
    "takeover", "board", "card", "network", "manifest", "target", "flash", "verify", "commit",
    "receipt",
];

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
    let products = chosen(arguments)?;
    let mut summaries = Vec::new();
    for product in products {
        summaries.push((product, one_board(product)?));
    }
    for (product, receipt) in &summaries {
        summary(*product, receipt);
    }
    Ok(())
}

fn chosen(arguments: &[String]) -> Result<Vec<Product>> {
    if arguments.is_empty() {
        return Ok(Product::SUPPORTED.to_vec());
    }
    let mut products = Vec::new();
    for name in arguments {
        match Product::SUPPORTED
            .iter()
            .find(|product| product.name() == name)
        {
            Some(product) => products.push(*product),
            None => bail!("no virtual board `{name}`: there are rpi5 and rock5b"),
        }
    }
    Ok(products)
}

/// One board's way from bare to node; gives the agent's receipt.
fn one_board(product: Product) -> Result<Value> {
    let name = product.name();
    say(
        name,
        "preparing: golden image, its publication, card, blank 512 MiB NVMe disk (built when not there yet: some minutes)",
    );
    let scene = Scene::new(&format!("demo-{name}"), product)?;
    let flasher = flasher::boot(&scene.arguments)?;

    say(name, "power on, card in the slot");
    let start = Instant::now();
    let mut board = scene.hardware.power_on(&flasher)?;
    show_until(&mut board, name, "gild: done, rebooting")?;
    end(&mut board, &End::Reset)?;
    drop(board);
    let receipt = scene.receipt()?;
    say(
        name,
        &format!(
            "flashed {:.1} s after power-on; now this program stands in for the firmware",
            seconds(start)
        ),
    );

    let boot = firmware::boot_from_disk(product, &scene.nvme(), scene.path())?;
    say(
        name,
        &format!(
            "starting from the NVMe's own boot partition: {}",
            boot.command_line
        ),
    );
    let mut node = scene.hardware.power_on(&boot)?;
    show_until(&mut node, name, "golden: image")?;
    say(
        name,
        &format!(
            "the golden image runs {:.1} s after power-on",
            seconds(start)
        ),
    );
    Ok(receipt)
}

fn seconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64()
}

/// Shows the serial console up to and with the line that contains `last`.
fn show_until(board: &mut VirtualBoard, name: &str, last: &str) -> Result<()> {
    board.wait_until(last, PATIENCE, |line| {
        println!("{name} | {line}");
        line.contains(last)
    })?;
    Ok(())
}

fn end(board: &mut VirtualBoard, wanted: &End) -> Result<()> {
    let end = board.wait_end(PATIENCE)?;
    if end != *wanted {
        bail!("the machine should have ended with {wanted:?}, and ended with {end:?}");
    }
    Ok(())
}

fn say(name: &str, text: &str) {
    println!("{name} # {text}");
}

fn summary(product: Product, receipt: &Value) {
    let bytes = |key: &str| receipt[key].as_u64().unwrap_or(0);
    let stage = |name: &str| receipt["seconds"][name].as_f64().unwrap_or(0.0);
    #[expect(clippy::cast_precision_loss, reason = "numbers for a person to read")]
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    println!("\n{} ({})", product.name(), product.model());
    println!(
        "  image      {}",
        receipt["image_id"].as_str().unwrap_or("?")
    );
    println!(
        "  fetched    {:.1} MB, written {:.1} MB, made zero {:.1} MB, read back and hashed {:.1} MB",
        megabytes(bytes("bytes_fetched")),
        megabytes(bytes("bytes_written")),
        megabytes(bytes("bytes_zeroed")),
        megabytes(bytes("bytes_read_back"))
    );
    println!(
        "  rate       {:.1} MB/s of image in flash and verify, on an emulated processor",
        megabytes(bytes("bytes_written") + bytes("bytes_zeroed"))
            / (stage("flash") + stage("verify")).max(0.001)
    );
    let times = STAGES.map(|name| format!("{name} {:.1}", stage(name)));
    println!("  seconds    {}", times.join(", "));
    println!("  receipt    {receipt}");
    if receipt["fault"] == 8 {
        println!(
            "  fault 8    is expected: the demo's card has no firmware files, so the boot order stays as it is"
        );
    }
}
