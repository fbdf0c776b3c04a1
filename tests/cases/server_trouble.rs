//! Servers that are away, go away, or bring wrong bits.
//!
//! The embedded server misbehaves in these tests; the agent and its network are the real ones.

use anyhow::Result;
use gild_tests::board_dtb::Product;
use gild_tests::disk;
use gild_tests::nfs_server::{BitFlip, Handles};
use gild_tests::scene::{HOLD_FOR_THE_LED, PATIENCE, SLOW, Scene};

#[test]
fn a_server_that_appears_late_is_waited_for() -> Result<()> {
    let mut scene = Scene::new("late-server", Product::Rpi5)?;
    scene.server.stop();

    let mut board = scene.power_on()?;
    board.wait_for_fault_on_the_led(3, PATIENCE)?;
    scene.server.restart(Handles::Kept)?;
    let receipt = scene.finish(&mut board)?;

    assert_eq!(receipt["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}

fn server_restarts_in_the_middle(name: &str, handles: Handles) -> Result<()> {
    let mut scene = Scene::new(name, Product::Rock5b)?;
    scene.hardware.nvme[0].bytes_per_second = SLOW;

    let mut board = scene.power_on()?;
    board.tolerate_faults();
    board.wait_for("gild: progress", PATIENCE)?;
    scene.server.stop();
    board.wait_for("gild: waiting:", PATIENCE)?;
    scene.server.restart(handles)?;
    board.let_disk_run(0)?;
    let receipt = scene.finish(&mut board)?;

    assert_eq!(receipt["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}

#[test]
fn a_server_that_restarts_with_other_file_handles_is_found_again() -> Result<()> {
    server_restarts_in_the_middle("server-restart-stale", Handles::Stale)
}

#[test]
fn a_server_that_falls_silent_is_not_waited_for_for_ever() -> Result<()> {
    let mut scene = Scene::new("silent-server", Product::Rpi5)?;
    scene.arguments = "gild.hold_seconds=2 gild.answer_seconds=5".into();

    let mut board = scene.power_on()?;
    board.tolerate_faults();
    board.wait_for("gild: stage flash", PATIENCE)?;
    scene.server.set_faults(|faults| faults.silent = true);
    board.wait_for("gild: waiting:", PATIENCE)?;
    scene.server.set_faults(|faults| faults.silent = false);
    let receipt = scene.finish(&mut board)?;

    assert_eq!(receipt["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}

#[test]
fn a_server_that_starts_its_disks_is_neither_a_hang_nor_a_fault() -> Result<()> {
    let mut scene = Scene::new("slow-server", Product::Rpi5)?;
    scene.arguments = "gild.hold_seconds=2 gild.watchdog_seconds=10".into();
    scene.server.set_faults(|faults| faults.held = true);

    let mut board = scene.power_on()?;
    board.wait_for("has not answered for 35 s; it has 60 s", PATIENCE)?;
    scene.server.set_faults(|faults| faults.held = false);
    let receipt = scene.finish(&mut board)?;

    assert_eq!(receipt["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}

#[test]
fn a_cable_pulled_for_some_seconds_costs_only_time() -> Result<()> {
    let mut scene = Scene::new("cable", Product::Rpi5)?;
    scene.hardware.nvme[0].bytes_per_second = SLOW;

    let mut board = scene.power_on()?;
    board.tolerate_faults();
    board.wait_for("gild: progress", PATIENCE)?;
    board.set_cable(false)?;
    board.wait_for("gild: waiting:", PATIENCE)?;
    board.set_cable(true)?;
    board.let_disk_run(0)?;
    let receipt = scene.finish(&mut board)?;

    assert_eq!(receipt["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}

#[test]
fn a_board_without_a_cable_is_fault_2_until_it_is_plugged_in() -> Result<()> {
    let scene = Scene::new("no-cable", Product::Rock5b)?;

    let mut board = scene.power_on()?;
    board.set_cable(false)?;
    board.wait_for_fault_on_the_led(2, PATIENCE)?;
    board.set_cable(true)?;

    assert_eq!(scene.finish(&mut board)?["outcome"], "flashed");
    Ok(())
}

/// The middle of the frame of a data chunk in the stored file.
fn inside_a_chunk(scene: &Scene) -> Result<u64> {
    let manifest = scene.share.manifest()?;
    let data: Vec<_> = manifest.chunks.iter().filter(|chunk| !chunk.hole).collect();
    let chunk = data[data.len() / 2];
    Ok(chunk.stored_offset + u64::from(chunk.stored_length) / 2)
}

#[test]
fn a_bit_that_arrives_wrong_once_is_fetched_again_and_never_written() -> Result<()> {
    let scene = Scene::new("bit-on-the-wire", Product::Rpi5)?;
    let (file, offset) = (scene.share.stored_file(), inside_a_chunk(&scene)?);
    scene.server.set_faults(|faults| {
        faults.flips.push(BitFlip {
            file,
            offset,
            bit: 3,
            times: 1,
        });
    });

    let mut board = scene.power_on()?;
    board.wait_for("fetching it again", PATIENCE)?;
    // The error must be found before the write, not when the data is read back.
    board.wait_for("gild: stage verify", PATIENCE)?;
    let receipt = scene.finish(&mut board)?;

    assert_eq!(
        scene.server.faults().flips[0].times,
        0,
        "the wrong bit was sent"
    );
    assert_eq!(receipt["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}

#[test]
fn a_wrong_bit_in_the_stored_file_is_fault_6_until_the_file_is_mended() -> Result<()> {
    let mut scene = Scene::with_own_share("bit-in-the-file", Product::Rock5b)?;
    scene.arguments = HOLD_FOR_THE_LED.into();
    let stored = scene.share.directory.join(scene.share.stored_file());
    let offset = inside_a_chunk(&scene)?;
    disk::flip_bit(&stored, offset)?;

    let mut board = scene.power_on()?;
    board.wait_for_fault_on_the_led(6, PATIENCE)?;
    let unfinished =
        gild_tests::firmware::boot_from_disk(Product::Rock5b, &scene.nvme(), scene.path());
    assert!(unfinished.is_err(), "a half-written disk must not boot");
    disk::flip_bit(&stored, offset)?;

    assert_eq!(scene.finish(&mut board)?["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}

mod campaign {
    use super::*;

    #[test]
    fn a_server_that_restarts_in_the_middle_is_found_again() -> Result<()> {
        server_restarts_in_the_middle("server-restart", Handles::Kept)
    }
}
