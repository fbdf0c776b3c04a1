//! Power cuts, and what the next start makes of them.
//!
//! Simulated: a power cut means that QEMU is killed. Everything that the disk had accepted by then stays, flushed or not. So the loss of a
//! disk's volatile cache is not shown here.

use std::fs;

use anyhow::{Context, Result};
use gild_tests::board_dtb::Product;
use gild_tests::scene::{PATIENCE, SLOW, Scene};
use gild_tests::{disk, firmware};

/// Cuts the power in the middle of the flash.
fn interrupted(name: &str, product: Product) -> Result<Scene> {
    let mut scene = Scene::new(name, product)?;
    scene.hardware.nvme[0].bytes_per_second = SLOW;
    let mut board = scene.power_on()?;
    board.wait_for_progress(50, PATIENCE)?;
    board.cut_power()?;
    scene.hardware.nvme[0].bytes_per_second = 0;
    let half = firmware::boot_from_disk(product, &scene.nvme(), scene.path());
    assert!(half.is_err(), "a half-written disk must not boot");
    Ok(scene)
}

/// Stored bytes of the data chunks, and how many there are.
fn data_of(scene: &Scene) -> Result<(u64, u64)> {
    let manifest = scene.share.manifest()?;
    let data = manifest.chunks.iter().filter(|chunk| !chunk.hole);
    Ok(data.fold((0, 0), |(bytes, count), chunk| {
        (bytes + u64::from(chunk.stored_length), count + 1)
    }))
}

#[test]
fn after_a_power_cut_only_what_is_missing_is_fetched() -> Result<()> {
    let scene = interrupted("power-cut", Product::Rpi5)?;
    let (stored, chunks) = data_of(&scene)?;
    let file = scene.share.stored_file();
    let served = |scene: &Scene| {
        scene
            .server
            .counters()
            .bytes_by_file
            .get(&file)
            .copied()
            .unwrap_or(0)
    };
    let before = served(&scene);

    let mut board = scene.power_on()?;
    board.wait_for("gild: resume:", PATIENCE)?;
    let receipt = scene.finish(&mut board)?;

    let kept = receipt["chunks_kept"].as_u64().context("chunks_kept")?;
    let fetched = receipt["chunks_fetched"]
        .as_u64()
        .context("chunks_fetched")?;
    let bytes = receipt["bytes_fetched"].as_u64().context("bytes_fetched")?;
    println!(
        "of {chunks} chunks {kept} kept, {fetched} fetched: {bytes} of {stored} bytes fetched again"
    );
    assert_eq!(kept + fetched, chunks);
    assert!(kept > 0 && fetched > 0, "kept {kept}, fetched {fetched}");
    assert_eq!(
        served(&scene) - before,
        bytes,
        "the server counted the same bytes as the agent"
    );
    assert!(
        bytes < stored * 3 / 4,
        "{bytes} of {stored} bytes fetched again"
    );
    scene.assert_disk_is_the_image()
}

#[test]
fn a_bit_that_turned_over_on_the_disk_during_a_power_cut_is_written_again() -> Result<()> {
    let scene = interrupted("bit-before-resume", Product::Rock5b)?;
    // The boot partition comes early, so its kernel is on the disk by now.
    let manifest = scene.share.manifest()?;
    let image = fs::read(&scene.share.golden.raw)?;
    let on_disk = fs::read(scene.nvme())?;
    let written = manifest
        .chunks
        .iter()
        .filter(|chunk| !chunk.hole)
        .find(|chunk| {
            let start = usize::try_from(chunk.raw_offset).unwrap_or(usize::MAX);
            let range = start..start + chunk.raw_length as usize;
            image[range.clone()] == on_disk[range]
        });
    let offset = written.context("some chunk is on the disk")?.raw_offset + 4711;
    disk::flip_bit(&scene.nvme(), offset)?;

    scene.flash()?;

    scene.assert_disk_is_the_image()
}

fn power_cut_at(name: &str, line: &str) -> Result<()> {
    let scene = Scene::new(name, Product::Rpi5)?;
    let mut board = scene.power_on()?;
    board.wait_for(line, PATIENCE)?;
    board.cut_power()?;

    let receipt = scene.flash()?;

    let outcome = receipt["outcome"].as_str().context("outcome")?;
    assert!(["flashed", "already-done"].contains(&outcome), "{outcome}");
    scene.assert_disk_is_the_image()
}

#[test]
fn a_power_cut_at_the_start_of_verification_leaves_no_trace() -> Result<()> {
    power_cut_at("cut-verify", "gild: stage verify")
}

#[test]
fn a_power_cut_at_the_commit_leaves_no_trace() -> Result<()> {
    power_cut_at("cut-commit", "gild: stage commit")
}

#[test]
fn a_power_cut_before_the_receipt_leaves_no_trace() -> Result<()> {
    power_cut_at("cut-receipt", "gild: stage receipt")
}
