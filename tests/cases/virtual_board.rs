//! The harness itself. Without gild, its golden image boots and its faults are faults.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use gild_tests::board_dtb::Product;
use gild_tests::card::Card;
use gild_tests::virtual_board::{End, Hardware, Nvme};
use gild_tests::{disk, firmware, flasher, golden, slot, workspace};

const START: Duration = Duration::from_mins(2);

fn golden_image_boots_from_its_own_partitions(product: Product) -> Result<()> {
    let directory = workspace::fresh(&format!("golden-boots-{}", product.name()))?;
    let golden = golden::image(product)?;
    let nvme = directory.join("nvme.img");
    fs::copy(&golden.raw, &nvme)?;
    let card = Card::make(&directory.join("card.img"), None)?;
    let mut hardware = Hardware::new(product, &directory);
    hardware.nvme.push(Nvme::new(&nvme));
    hardware.card = Some(card.image().to_path_buf());

    let boot = firmware::boot_from_disk(product, &nvme, &directory)?;
    let mut board = hardware.power_on(&boot)?;
    let line = board.wait_for("golden: image", START)?;

    assert_eq!(
        line,
        format!(
            "golden: image {} running on {}, root /dev/nvme0n1p2",
            golden.image_id,
            product.model()
        )
    );
    assert_eq!(
        board.wait_for("golden: disks", START)?,
        "golden: disks mmcblk0 nvme0n1"
    );
    assert_eq!(board.wait_end(START)?, End::PowerOff);
    Ok(())
}

#[test]
fn the_golden_image_of_rpi5_boots_from_its_own_partitions() -> Result<()> {
    golden_image_boots_from_its_own_partitions(Product::Rpi5)
}

#[test]
fn the_golden_image_of_rock5b_boots_from_its_own_partitions() -> Result<()> {
    golden_image_boots_from_its_own_partitions(Product::Rock5b)
}

/// Otherwise tests that start a board again and again would wait for each other forever.
#[test]
fn a_board_that_has_ended_keeps_no_slot() -> Result<()> {
    let directory = workspace::fresh("slots")?;
    // The kernel finds nothing to run.
    let boot = flasher::boot("rdinit=/nothing")?;
    let hardware = Hardware::new(Product::Rpi5, &directory);
    let mut ended = Vec::new();
    while ended.len() <= slot::count() {
        let mut board = hardware.power_on(&boot)?;
        assert_eq!(board.wait_end(START)?, End::Reset);
        ended.push(board);
    }
    Ok(())
}

#[test]
fn a_disk_without_a_partition_table_does_not_boot() -> Result<()> {
    let directory = workspace::fresh("blank-disk")?;
    let nvme = directory.join("nvme.img");
    disk::blank(&nvme, 64 << 20)?;

    let refused = firmware::boot_from_disk(Product::Rpi5, &nvme, &directory);

    assert!(format!("{:#}", refused.expect_err("a blank disk boots")).contains("does not boot"));
    Ok(())
}

#[test]
fn a_card_gives_back_what_was_written_on_it() -> Result<()> {
    let directory = workspace::fresh("card")?;
    let card = Card::make(&directory.join("card.img"), Some("server = \"x\"\n"))?;

    assert_eq!(card.read("gild.toml")?, "server = \"x\"\n");
    card.write("gild.toml", "server = \"y\"\n")?;
    assert_eq!(card.read("gild.toml")?, "server = \"y\"\n");
    assert_eq!(card.names()?, ["gild.toml"]);
    Ok(())
}
