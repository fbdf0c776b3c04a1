//! From power-on to a node: the whole job on both boards, with nfs-ganesha as the image server.
//!
//! Real: kernel, agent, card, NVMe, network, server, golden image. Simulated: the hardware, and the firmware that
//! starts the card and later the disk (see docs/virtual-boards.md).

use std::fs;

use anyhow::Result;
use gild_tests::board_dtb::Product;
use gild_tests::scene::{PATIENCE, Scene};
use gild_tests::virtual_board::End;
use gild_tests::{disk, firmware};
use serde_json::Value;

/// The most memory that the agent may take, bytes.
const MEMORY_BUDGET: u64 = 128 << 20;

fn assert_memory(receipt: &Value) {
    let peak = receipt["peak_rss_bytes"].as_u64().expect("a number");
    println!("the agent's peak: {} MiB", peak >> 20);
    assert!(peak <= MEMORY_BUDGET, "{receipt}");
}

fn a_bare_board_becomes_a_node_and_stays_one(product: Product) -> Result<()> {
    let mut scene = Scene::new(&format!("node-{}", product.name()), product)?;
    scene.serve_by_ganesha()?;
    // The smallest real board has this much.
    scene.hardware.memory = 1024;
    scene.hardware.cores = product.cores();

    // At the first start the card's agent writes the disk.
    let mut board = scene.power_on()?;
    board.wait_for(&format!("gild: board {}", product.name()), PATIENCE)?;
    board.wait_for(
        &format!("gild: image {}", scene.share.golden.image_id),
        PATIENCE,
    )?;
    let receipt = scene.finish(&mut board)?;
    assert_eq!(receipt["outcome"], "flashed");
    assert_eq!(receipt["board"], product.name());
    assert_eq!(receipt["mac"], product.mac());
    assert_eq!(receipt["serial"], product.serial_number());
    assert_eq!(receipt["image_id"], scene.share.golden.image_id);
    assert_eq!(receipt["target"]["serial"], "NVME-SIM-0001");
    assert_memory(&receipt);
    scene.assert_disk_is_the_image()?;
    assert_eq!(
        scene.server.counters().connections,
        0,
        "every byte came from nfs-ganesha"
    );
    let seen = board.led()?;
    assert!(
        seen.writing && seen.steady && seen.faults.is_empty(),
        "{seen:?}"
    );
    drop(board);

    // At the second start the card is still in the slot. The stand-in for the firmware reads the disk's own boot partition.
    let boot = firmware::boot_from_disk(product, &scene.nvme(), scene.path())?;
    let mut node = scene.hardware.power_on(&boot)?;
    let image_id = &scene.share.golden.image_id;
    assert_eq!(
        node.wait_for("golden: image", PATIENCE)?,
        format!(
            "golden: image {image_id} running on {}, root /dev/nvme0n1p2",
            product.model()
        )
    );
    assert_eq!(
        node.wait_for("golden: disks", PATIENCE)?,
        "golden: disks mmcblk0 nvme0n1"
    );
    assert_eq!(node.wait_end(PATIENCE)?, End::PowerOff);
    drop(node);

    // At the third start, from the card again, nothing is written.
    let before = scene.path().join("before.img");
    fs::copy(scene.nvme(), &before)?;
    let mut board = scene.power_on()?;
    board.wait_for(&format!("gild: already done: image {image_id}"), PATIENCE)?;
    let counters = board.disk_counters(0)?;
    let told = board.wait_for("gild: receipt ", PATIENCE)?;
    let receipt = scene.finish(&mut board)?;
    assert_eq!(
        (counters.written, counters.discarded),
        (0, 0),
        "QEMU counted writes to the NVMe"
    );
    assert!(told.contains(r#""outcome":"already-done""#), "{told}");
    assert_eq!(
        receipt["outcome"], "flashed",
        "the card keeps the receipt of the flash"
    );
    let changed = disk::differences(&before, &scene.nvme())?;
    assert!(changed.is_empty(), "the disk has changed at {changed:x?}");
    Ok(())
}

#[test]
fn a_bare_rpi5_becomes_a_node_and_the_card_left_in_writes_nothing_again() -> Result<()> {
    a_bare_board_becomes_a_node_and_stays_one(Product::Rpi5)
}

#[test]
fn a_bare_rock5b_becomes_a_node_and_the_card_left_in_writes_nothing_again() -> Result<()> {
    a_bare_board_becomes_a_node_and_stays_one(Product::Rock5b)
}
