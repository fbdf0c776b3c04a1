//! The boot order of the Raspberry Pi 5, from the factory's to the disk first, with the card left in.
//!
//! Real: the agent, the card's FAT, the device tree, and the memory in which Linux finds the firmware's configuration. Simulated: the
//! EEPROM, the boot ROM and `recovery.bin`, from the vendor's documentation (`gild_tests::eeprom`). The vendor's files are stand-ins made
//! from their documented format.

use anyhow::{Context, Result};
use gild_tests::board_dtb::Product;
use gild_tests::firmware;
use gild_tests::scene::{PATIENCE, Scene};
use gild_tests::virtual_board::End;
use serde_json::Value;

/// A board with the factory's EEPROM, and a card with firmware files as `gild card build` makes them.
fn scene(name: &str) -> Result<Scene> {
    let mut scene = Scene::new(name, Product::Rpi5)?;
    scene.use_eeprom()?;
    Ok(scene)
}

/// Restarts the board, up to the point where its firmware chooses what to start.
fn rom(scene: &mut Scene) -> Result<bool> {
    let eeprom = scene.hardware.eeprom.as_mut().context("an EEPROM")?;
    eeprom.start(&scene.card)
}

fn is_nvme_first(scene: &Scene) -> Result<bool> {
    let eeprom = scene.hardware.eeprom.as_ref().context("an EEPROM")?;
    Ok(eeprom.boot_order()?.is_nvme_first())
}

fn boot_order(receipt: &Value) -> &str {
    receipt["boot_order"].as_str().unwrap_or_default()
}

#[test]
fn the_order_is_changed_after_the_disk_is_good_and_the_disk_starts() -> Result<()> {
    let mut scene = scene("boot-order")?;
    assert!(!rom(&mut scene)? && !is_nvme_first(&scene)?);
    let receipt = scene.flash()?;
    assert_eq!(receipt["outcome"], "flashed");
    assert_eq!(boot_order(&receipt), "staged");
    assert!(receipt["fault"].is_null(), "{receipt}");

    assert!(rom(&mut scene)?, "the update is where the ROM looks for it");
    assert!(is_nvme_first(&scene)?);
    let boot = firmware::boot_from_disk(Product::Rpi5, &scene.nvme(), scene.path())?;
    let mut node = scene.hardware.power_on(&boot)?;
    node.wait_for("golden: image", PATIENCE)?;
    assert_eq!(node.wait_end(PATIENCE)?, End::PowerOff);
    drop(node);

    // If somebody starts from the card anyway, the agent asks no server and removes what the update left.
    let mut board = scene.power_on()?;
    board.wait_for("gild: already done", PATIENCE)?;
    board.wait_for("gild: boot order already-right", PATIENCE)?;
    let receipt = scene.finish(&mut board)?;
    assert_eq!(
        boot_order(&receipt),
        "staged",
        "the receipt of the flash stays"
    );
    let lines = board.console();
    assert!(
        !lines.iter().any(|line| line.contains("stage network")),
        "{lines:?}"
    );
    let left = scene.card.names()?;
    let is_left = |name: &String| name.starts_with("recovery.") || name.starts_with("pieeprom.");
    assert!(!left.iter().any(is_left), "{left:?}");
    Ok(())
}

#[test]
fn a_power_cut_while_the_update_is_staged_is_completed_by_the_next_power_on() -> Result<()> {
    let mut scene = scene("boot-order-cut")?;
    let mut board = scene.power_on()?;
    board.wait_for("gild: stage boot-order", PATIENCE)?;
    board.cut_power()?;

    // At a cold start the ROM comes first. Only a complete update may have an effect.
    rom(&mut scene)?;
    let receipt = scene.flash()?;
    assert_eq!(receipt["outcome"], "already-done");
    rom(&mut scene)?;
    assert!(is_nvme_first(&scene)?, "{receipt}");
    scene.assert_disk_is_the_image()
}

/// The board's ROM never takes the update, and its firmware does not know `set_reboot_order`.
#[test]
fn a_board_that_comes_back_again_and_again_says_so_and_never_stops_trying() -> Result<()> {
    let scene = scene("comes-back")?;
    for _ in 0..2 {
        assert_eq!(boot_order(&scene.flash()?), "staged");
    }

    let mut board = scene.power_on()?;
    board.tolerate_faults();
    let receipt = scene.finish(&mut board)?;
    assert_eq!(receipt["outcome"], "already-done");
    assert_eq!(receipt["fault"], 8);
    assert!(
        boot_order(&receipt).starts_with("not-possible: "),
        "{receipt}"
    );
    let seen = board.led()?;
    assert!(seen.faults.contains(&8) && seen.steady, "{seen:?}");
    drop(board);
    let names = scene.card.names()?;
    assert!(
        !names.iter().any(|name| name == "recovery.bin"),
        "{names:?}"
    );

    for (times, pause) in [(2, 2), (3, 4)] {
        let mut board = scene.power_on()?;
        board.tolerate_faults();
        let line = board.wait_for(&format!("came back to this agent {times} times"), PATIENCE)?;
        assert!(
            line.contains("FAULT 8") && line.contains("2 attempts"),
            "{line}"
        );
        board.wait_for(&format!("and restarting the board in {pause} s"), PATIENCE)?;
        assert_eq!(board.wait_end(PATIENCE)?, End::Reset);
        let note = scene.note()?;
        assert!(
            note.contains("FAULT 8") && note.contains("recovery.bin"),
            "{note}"
        );
    }
    scene.assert_disk_is_the_image()
}
