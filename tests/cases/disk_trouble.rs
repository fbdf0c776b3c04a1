//! Disks that fail, lie, are very slow, or were used before.
//!
//! Simulated: QEMU's blkdebug answers requests with errors, and its throttling makes the disk slow. The kernel's NVMe driver and the agent
//! see the same as from a real disk.

use anyhow::Result;
use gild_tests::board_dtb::Product;
use gild_tests::disk;
use gild_tests::scene::{HOLD_FOR_THE_LED, PATIENCE, Scene};
use gild_tests::virtual_board::{End, VirtualBoard, failing};

fn is_healed(scene: &Scene, mut board: VirtualBoard) -> Result<()> {
    let note = scene.note()?;
    assert!(
        note.contains("nvme0n1"),
        "the text on the card names the disk: {note}"
    );
    board.heal_disk(0)?;

    assert_eq!(scene.finish(&mut board)?["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}

#[test]
fn a_disk_that_refuses_a_write_is_fault_7_until_it_is_replaced() -> Result<()> {
    let mut scene = Scene::new("write-errors", Product::Rpi5)?;
    scene.arguments = HOLD_FOR_THE_LED.into();

    let mut board = scene.power_on()?;
    board.break_disk(0, &[failing("write")])?;
    board.wait_for_fault_on_the_led(7, PATIENCE)?;
    is_healed(&scene, board)
}

#[test]
fn a_disk_that_cannot_be_read_back_is_fault_7_until_it_is_replaced() -> Result<()> {
    let mut scene = Scene::new("read-errors", Product::Rock5b)?;
    // After this time the board restarts, unless the disk has recovered before that.
    scene.arguments = "gild.hold_seconds=8".into();

    let mut board = scene.power_on()?;
    board.break_disk(0, &[failing("read")])?;
    board.wait_for_fault(7, PATIENCE)?;
    board.wait_for("gild: hold", PATIENCE)?;
    is_healed(&scene, board)
}

#[test]
fn a_slow_disk_is_only_slow() -> Result<()> {
    let mut scene = Scene::new("slow-disk", Product::Rpi5)?;
    scene.arguments += " gild.watchdog_seconds=60";
    scene.hardware.nvme[0].bytes_per_second = 12 << 20;

    let mut board = scene.power_on()?;
    board.wait_for("gild: stage verify", PATIENCE)?;
    // Then reading back the rest takes more than a minute. That is longer than the watchdog's time, and longer than the 40 s of silence
    // after which the agent reports a fault. On a busy machine the emulated disk itself may be silent until the kernel's driver checks it,
    // at 30 s.
    board.slow_disk_down(0, 3 << 18)?;

    assert_eq!(scene.finish(&mut board)?["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}

#[test]
fn what_a_used_disk_held_under_the_holes_is_gone() -> Result<()> {
    let scene = Scene::new("stale-data", Product::Rock5b)?;
    disk::filled(&scene.nvme(), 320 << 20, 0xaa)?;

    let receipt = scene.flash()?;

    scene.assert_disk_is_the_image()?;
    assert!(
        receipt["bytes_zeroed"]
            .as_u64()
            .is_some_and(|bytes| bytes > 100 << 20),
        "{receipt}"
    );
    Ok(())
}

#[test]
fn a_bit_that_turns_over_on_the_disk_before_the_read_back_is_found_and_written_again() -> Result<()>
{
    let mut scene = Scene::new("bit-on-the-disk", Product::Rpi5)?;
    // The disk is slow, so that the last data has not been read back when the bit flips.
    scene.hardware.nvme[0].bytes_per_second = 12 << 20;
    let manifest = scene.share.manifest()?;
    let Some(last) = manifest.chunks.iter().rev().find(|chunk| !chunk.hole) else {
        anyhow::bail!("an image without data");
    };

    let mut board = scene.power_on()?;
    board.wait_for("gild: stage verify", PATIENCE)?;
    disk::flip_bit(&scene.nvme(), last.raw_offset + 17)?;
    board.let_disk_run(0)?;
    let receipt = scene.finish(&mut board)?;

    assert_eq!(receipt["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}

/// The kernel's driver gives up a hanging disk after a minute or two. In this test it waits for an hour, as it would for a disk that hangs
/// in a way that keeps the driver waiting.
#[test]
fn a_disk_that_hangs_is_fault_7_before_the_watchdog_resets_the_board_and_after_it() -> Result<()> {
    let mut scene = Scene::new("watchdog", Product::Rock5b)?;
    scene.arguments =
        "gild.hold_seconds=2 gild.watchdog_seconds=90 nvme_core.io_timeout=3600".into();

    let mut board = scene.power_on()?;
    board.wait_for("watchdog i6300ESB timer, 90 s", PATIENCE)?;
    board.wait_for("gild: progress", PATIENCE)?;
    board.freeze_disk(0)?;
    let line = board.wait_for_fault_on_the_led(7, PATIENCE)?;
    assert!(line.contains("has not answered for 60 s"), "{line}");
    assert_eq!(board.wait_end(PATIENCE)?, End::Watchdog);
    let note = scene.note()?;
    assert!(note.contains("FAULT 7"), "{note}");
    drop(board);

    let mut board = scene.power_on()?;
    let line = board.wait_for_fault(7, PATIENCE)?;
    assert!(line.contains("stopped answering in 1 start(s)"), "{line}");
    assert_eq!(scene.finish(&mut board)?["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}
