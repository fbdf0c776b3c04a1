//! Both steppings of the Raspberry Pi 5's processor start from the card and from the disk, by the rules of the firmware's stand-in. No
//! virtual board runs here.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use gild_card::firmware::Firmware;
use gild_tests::board_dtb::Product;
use gild_tests::card::Card;
use gild_tests::disk;
use gild_tests::firmware::{Revision, start_tree};
use gild_tests::{golden, workspace};

const OVERLAY: &str = "overlays/bcm2712d0.dtbo";

fn mtools(program: &str, disk: &Path, arguments: &[&str]) {
    let drive = format!("{}@@16M", disk.display());
    let output = Command::new(program)
        .args(["-i", &drive])
        .args(arguments)
        .output();
    let output = output.expect("mtools");
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
}

fn card(directory: &Path) -> Result<PathBuf> {
    let path = directory.join("card.img");
    Ok(
        Card::whole(&path, &Firmware::default(), "server = \"x\"\n")?
            .image()
            .to_path_buf(),
    )
}

fn golden_disk(directory: &Path) -> Result<PathBuf> {
    let path = directory.join("nvme.img");
    disk::copy(&golden::image(Product::Rpi5)?.raw, &path)?;
    Ok(path)
}

fn starts_with_the_overlay_and_on_c0_without(
    name: &str,
    medium: fn(&Path) -> Result<PathBuf>,
) -> Result<()> {
    let directory = workspace::fresh(name)?;
    let disk = medium(&directory)?;
    let start = |revision| start_tree(revision, &disk, &directory);
    start(Revision::C0)?;
    start(Revision::D0)?;

    // Raspberry Pi's own overlay refers to names that the mainline tree lacks.
    let other = directory.join("other.dtbo");
    std::fs::write(
        directory.join("other.dts"),
        "/dts-v1/; /plugin/; &spi10 { };",
    )?;
    let dtc = Command::new("dtc")
        .args(["-q", "-@", "-O", "dtb", "-o", "other.dtbo", "other.dts"])
        .current_dir(&directory)
        .status()?;
    assert!(dtc.success());
    let target = format!("::{OVERLAY}");
    mtools("mcopy", &disk, &["-o", &other.to_string_lossy(), &target]);
    start(Revision::C0)?;
    let death = format!("{:#}", start(Revision::D0).expect_err("a D0 board starts"));
    assert!(death.contains("brcmstb_pinconf_set"), "{death}");

    mtools("mdel", &disk, &[&target]);
    start(Revision::C0)?;
    let death = format!("{:#}", start(Revision::D0).expect_err("a D0 board starts"));
    assert!(death.contains("brcmstb_pinconf_set"), "{death}");
    assert!(death.contains(OVERLAY), "{death}");

    // Shipping the kernel's tree for D0 under the name that the firmware loads would only exchange the two.
    let newer = workspace::target().join("kernel/dtb/broadcom/bcm2712-d-rpi-5-b.dtb");
    let base = "::bcm2712-rpi-5-b.dtb";
    mtools("mcopy", &disk, &["-o", &newer.to_string_lossy(), base]);
    start(Revision::D0)?;
    assert!(start(Revision::C0).is_err(), "a C0 board starts");

    let rock = workspace::target().join("kernel/dtb/rockchip/rk3588-rock-5b.dtb");
    mtools("mcopy", &disk, &["-o", &rock.to_string_lossy(), base]);
    let refused = format!(
        "{:#}",
        start(Revision::C0).expect_err("another board's tree")
    );
    assert!(refused.contains("os_check"), "{refused}");
    Ok(())
}

#[test]
fn the_card_starts_both_steppings() -> Result<()> {
    starts_with_the_overlay_and_on_c0_without("pi5-steppings-card", card)
}

#[test]
fn the_golden_image_starts_both_steppings() -> Result<()> {
    starts_with_the_overlay_and_on_c0_without("pi5-steppings-disk", golden_disk)
}
