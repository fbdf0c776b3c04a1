//! What must not be flashed. In each test the disk is blank at first and must be untouched at the end.
//!
//! The faults are real: a wrong device tree, another board's image, a broken signature.

use std::fs;

use anyhow::Result;
use gild_tests::board_dtb::Product;
use gild_tests::scene::{PATIENCE, Scene};
use gild_tests::share;

#[test]
fn an_unknown_board_is_fault_1_and_asks_the_server_nothing() -> Result<()> {
    let scene = Scene::new("unknown-board", Product::Unknown)?;

    let mut board = scene.power_on()?;
    board.tolerate_faults();
    // On an unknown board no driver is loaded, so there is no LED that could blink.
    let line = board.wait_for("gild: FAULT 1:", PATIENCE)?;
    board.wait_for("gild: hold", PATIENCE)?;

    assert!(
        line.contains("acme,toaster"),
        "the line names what was found: {line}"
    );
    assert_eq!(scene.server.counters().connections, 0);
    scene.assert_disk_is_untouched()
}

#[test]
fn another_board_s_image_is_fault_4() -> Result<()> {
    let mut scene = Scene::with_own_share("wrong-board", Product::Rpi5)?;
    let others = share::published(Product::Rock5b)?;
    let own = scene.share.board_directory();
    fs::remove_dir_all(&own)?;
    fs::create_dir(&own)?;
    for file in fs::read_dir(others.board_directory())? {
        let file = file?;
        fs::copy(file.path(), own.join(file.file_name()))?;
    }
    // The signature is good. Only the board's name in the manifest is wrong.
    scene.share.public_key.clone_from(&others.public_key);
    scene.card.write("gild.toml", &scene.configuration())?;

    let mut board = scene.power_on()?;
    let line = board.wait_for_fault_on_the_led(4, PATIENCE)?;

    assert!(
        line.contains("rock5b") && line.contains("rpi5"),
        "the line names both boards: {line}"
    );
    assert_eq!(scene.receipt()?["fault"], 4);
    scene.assert_disk_is_untouched()
}

#[test]
fn a_manifest_with_one_digit_changed_is_fault_4_and_a_mended_one_goes_on() -> Result<()> {
    let scene = Scene::with_own_share("bad-signature", Product::Rock5b)?;
    let good = scene.share.spoil_manifest()?;

    let mut board = scene.power_on()?;
    let line = board.wait_for_fault(4, PATIENCE)?;
    assert!(line.contains("the signature does not fit"), "{line}");
    board.wait_for("gild: hold", PATIENCE)?;
    let note = scene.note()?;
    assert!(note.contains("the signature does not fit"), "{note}");
    scene.assert_disk_is_untouched()?;

    fs::write(scene.share.manifest_file(), good)?;
    assert_eq!(scene.finish(&mut board)?["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}

#[test]
fn a_manifest_signed_with_another_key_is_fault_4() -> Result<()> {
    let mut scene = Scene::new("foreign-key", Product::Rpi5)?;
    scene.share.public_key = share::published(Product::Rock5b)?.public_key;
    scene.card.write("gild.toml", &scene.configuration())?;

    let mut board = scene.power_on()?;
    board.wait_for_fault(4, PATIENCE)?;

    scene.assert_disk_is_untouched()
}

#[test]
fn an_image_older_than_the_card_accepts_is_fault_4() -> Result<()> {
    let scene = Scene::new("rollback", Product::Rpi5)?;
    scene.card.write(
        "gild.toml",
        &format!("{}min_rollback = 9999999999\n", scene.configuration()),
    )?;

    let mut board = scene.power_on()?;
    let line = board.wait_for_fault(4, PATIENCE)?;

    assert!(line.contains("rollback"), "{line}");
    scene.assert_disk_is_untouched()
}
