//! The agent's start, and a node whose cable is moved while it holds.

use anyhow::Result;
use gild_tests::board_dtb::Product;
use gild_tests::disk;
use gild_tests::flasher;
use gild_tests::scene::{DISK_SIZE, PATIENCE, Scene};
use gild_tests::virtual_board::Nvme;

#[test]
fn a_console_that_the_board_does_not_have_is_no_reason_to_be_silent() -> Result<()> {
    let scene = Scene::new("no-console", Product::Rpi5)?;
    let mut boot = flasher::boot(&scene.arguments)?;
    boot.command_line = boot.command_line.replace("ttyAMA0", "ttyS7");

    let mut board = scene.hardware.power_on(&boot)?;
    let receipt = scene.finish(&mut board)?;

    assert_eq!(receipt["outcome"], "flashed");
    Ok(())
}

#[test]
fn a_cable_that_is_moved_while_the_node_holds_brings_a_new_address() -> Result<()> {
    let mut scene = Scene::new("moved-cable", Product::Rock5b)?;
    // With two disks to choose from, the node holds and never restarts by itself.
    let second = scene.path().join("second.img");
    disk::blank(&second, DISK_SIZE)?;
    scene.hardware.nvme.push(Nvme {
        serial: "NVME-SIM-0002".into(),
        ..Nvme::new(&second)
    });

    let mut board = scene.power_on()?;
    board.wait_for_fault(5, PATIENCE)?;
    board.set_cable(false)?;
    board.wait_for_fault(2, PATIENCE)?;
    board.set_cable(true)?;
    board.wait_for("gild: network eth0", PATIENCE)?;
    board.wait_for("gild: FAULT 5", PATIENCE)?;
    scene.assert_disk_is_untouched()
}
