//! The whole chain of the Rock 5B, in one QEMU process: from power-on with an empty disk to the golden image.
//!
//! Real: U-Boot (Debian's for QEMU), its environment in a flash chip, the card from `gild card build` with the gate in its script, agent,
//! flash driver, NVMe, golden image. Simulated: the hardware. Debian's U-Boot stands in for the board's own, the card is on virtio, and the
//! chip is not an SPI NOR (`gild_tests::u_boot` says more).

use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail};
use gild_boards::nor::{self, Step};
use gild_boards::rk3588::{FLASH_SIZE, Medium};
use gild_boards::uboot_env::Environment;
use gild_boards_testkit::{FitSettings, MAINLINE, ROCK5B, Workshop};
use gild_card::firmware::{Firmware, rock5b_spi, rock5b_u_boot};
use gild_tests::board_dtb::Product;
use gild_tests::command::{command, run};
use gild_tests::disk;
use gild_tests::scene::{DISK_SIZE, PATIENCE, Scene};
use gild_tests::u_boot::{BLOCK, BOOT_FLASH, ENVIRONMENT, UBoot};
use gild_tests::virtual_board::{End, VirtualBoard};

const ORDER: &str = "boot_targets";
const NVME_THEN_THE_REST: &str = "nvme qfw usb scsi virtio dhcp";

/// A bare board, a whole card in its slot.
fn bare(name: &str, firmware: &Firmware) -> Result<(Scene, UBoot)> {
    let mut scene = Scene::new(name, Product::Rock5b)?;
    scene.use_whole_card(firmware)?;
    let u_boot = scene.use_u_boot()?;
    Ok((scene, u_boot))
}

/// Leaves the board alone until its golden image has run. Returns the console.
fn until_the_golden_image(scene: &Scene, mut board: VirtualBoard) -> Result<String> {
    let line = board.wait_for("golden: image", PATIENCE)?;
    let image_id = &scene.share.golden.image_id;
    assert!(line.contains(&**image_id), "{line}");
    assert_eq!(board.wait_end(PATIENCE)?, End::PowerOff);
    Ok(board.console().join("\n"))
}

fn power_on(scene: &Scene) -> Result<String> {
    until_the_golden_image(scene, scene.hardware.switch_on()?)
}

fn with_order(environment: &Environment, order: &str) -> Result<Environment> {
    let mut changed = environment.clone();
    changed.set(ORDER, order)?;
    Ok(changed)
}

#[test]
fn one_power_on_takes_a_bare_board_to_its_golden_image_and_it_stays_there() -> Result<()> {
    let (mut scene, u_boot) = bare("chain", &Firmware::default())?;
    let factory = u_boot.environment()?;
    let wanted = with_order(&factory, NVME_THEN_THE_REST)?;

    let mut board = scene.hardware.switch_on()?;
    board.wait_for("gild: starting the agent from virtio", PATIENCE)?;
    board.wait_for("gild: board rock5b", PATIENCE)?;
    board.wait_for("gild: boot order written", PATIENCE)?;
    board.wait_for("gild: done, rebooting", PATIENCE)?;
    until_the_golden_image(&scene, board)?;
    let receipt = scene.receipt()?;
    assert_eq!(
        (&receipt["outcome"], &receipt["boot_order"]),
        (&"flashed".into(), &"written".into())
    );
    assert!(
        u_boot.environment()? == wanted,
        "all else in the environment is as it was"
    );

    let console = power_on(&scene)?;
    assert!(!console.contains("gild: agent"), "the disk comes first now");

    // Somebody puts the card first in the order again. Then the gate in the card's script starts the disk.
    u_boot.set_environment(factory)?;
    let console = power_on(&scene)?;
    assert!(console.contains("finished: starting it"), "{console}");
    assert!(!console.contains("gild: agent"), "{console}");
    u_boot.set_environment(wanted.clone())?;

    // The old disk is replaced by a new one.
    disk::blank(&scene.nvme(), DISK_SIZE)?;
    scene.hardware.nvme[0].serial = "NVME-SIM-0002".into();
    let console = power_on(&scene)?;
    assert!(
        console.contains("gild: boot order already-right"),
        "{console}"
    );

    // `gild-reprovision` leaves a disk without a partition table. Somebody may run it any number of times.
    for _ in 0..3 {
        fs::OpenOptions::new()
            .write(true)
            .open(scene.nvme())?
            .write_all_at(&[0; 512], 0)?;
        let console = power_on(&scene)?;
        assert!(console.contains("gild: resume:"), "{console}");
    }

    scene.hardware.card = None;
    power_on(&scene)?;
    assert!(u_boot.environment()? == wanted);
    Ok(())
}

/// Applies what a power cut in the middle of this step would leave of the bytes.
fn half(step: &Step, bytes: &mut [u8], wanted: &[u8]) {
    let first = |place: &Range<usize>| place.start..place.start + place.len() / 2;
    match step {
        Step::Erase(place) => bytes[first(place)].fill(0xff),
        Step::Write(place) => bytes[first(place)].copy_from_slice(&wanted[first(place)]),
        Step::CheckErased(_) | Step::Check(_) => {}
    }
}

fn whole(step: &Step, bytes: &mut [u8], wanted: &[u8]) {
    match step {
        Step::Erase(place) => bytes[place.clone()].fill(0xff),
        Step::Write(place) => bytes[place.clone()].copy_from_slice(&wanted[place.clone()]),
        Step::CheckErased(_) | Step::Check(_) => {}
    }
}

/// Every state that a power cut can leave during this write, in order.
fn states(current: &[u8], wanted: &[u8], commit: usize) -> Result<Vec<Vec<u8>>> {
    let mut bytes = current.to_vec();
    let mut states = vec![bytes.clone()];
    for step in nor::plan(current, wanted, BLOCK, commit)? {
        let mut cut = bytes.clone();
        half(&step, &mut cut, wanted);
        whole(&step, &mut bytes, wanted);
        states.extend([cut, bytes.clone()]);
    }
    states.dedup();
    Ok(states)
}

/// The first cut is real, and comes at a random moment. The others are simulated from the plan that the agent follows. `chosen` gets the
/// number of a state and the number of all states, and picks some of them.
fn a_power_cut_in_the_order_s_change(
    name: &str,
    chosen: impl Fn(usize, usize) -> bool,
) -> Result<()> {
    let (scene, u_boot) = bare(name, &Firmware::default())?;
    let current = u_boot.read(&ENVIRONMENT)?;
    let wanted = with_order(&u_boot.environment()?, NVME_THEN_THE_REST)?;

    let mut board = scene.hardware.switch_on()?;
    board.wait_for("gild: writing U-Boot's environment", PATIENCE)?;
    board.cut_power()?;
    let card = scene.path().join("card-as-cut.img");
    disk::copy(scene.card.image(), &card)?;
    power_on(&scene).context("after a cut")?;
    assert!(u_boot.environment()? == wanted);
    let changed = u_boot.read(&ENVIRONMENT)?;

    let states = states(&current, &changed, 0)?;
    assert!(states.len() > 5, "{} states", states.len());
    for (number, state) in states.iter().enumerate() {
        if !chosen(number, states.len()) {
            continue;
        }
        disk::copy(&card, scene.card.image())?;
        u_boot.write(ENVIRONMENT.start, state)?;
        power_on(&scene).with_context(|| format!("state {number} of {}", states.len()))?;
        assert!(u_boot.environment()? == wanted, "state {number}");
    }
    Ok(())
}

#[test]
fn a_power_cut_in_the_order_s_change_is_completed_by_the_next_power_on() -> Result<()> {
    a_power_cut_in_the_order_s_change("chain-cut", |number, of| number == of / 2)
}

/// A chip with this at its start.
fn chip(start: &[u8]) -> Vec<u8> {
    let mut bytes = start.to_vec();
    bytes.resize(FLASH_SIZE, 0xff);
    bytes
}

/// The U-Boot in the image is a stand-in made with mkimage. Nothing runs it, because the machine keeps its own. After the cut, the
/// environment starts the machine; it is in a part of the chip that is not half written.
#[test]
fn the_whole_boot_flash_is_written_and_a_power_cut_in_the_middle_is_completed() -> Result<()> {
    let workshop = Workshop::new();
    let fit = workshop.fit(&Workshop::u_boot(MAINLINE), ROCK5B, &FitSettings::default());
    let mainline = workshop.spi(&fit);
    let firmware = Firmware {
        rpi5: None,
        rock5b_spi: Some(rock5b_spi(mainline.clone())?),
        rock5b_u_boot: Some(rock5b_u_boot(workshop.card(&fit))?),
    };
    let (scene, u_boot) = bare("chain-flash", &firmware)?;
    let factory = u_boot.environment()?;
    let before = chip(&mainline);
    let image = chip(firmware.rock5b_spi.as_deref().context("an image")?);
    u_boot.write(BOOT_FLASH.start, &before)?;

    let console = power_on(&scene)?;
    assert!(console.contains("gild: boot order written"), "{console}");
    assert!(u_boot.read(&BOOT_FLASH)? == image);
    assert_eq!(
        u_boot.environment()?.get(ORDER),
        Some(NVME_THEN_THE_REST.as_bytes()),
        "a saved environment would overrule the image"
    );
    let backup = flash_backup(&scene)?;
    let packed = scene.card.get(&backup)?.context("the backup")?;
    let file = scene.path().join("backup.bin.zst");
    fs::write(&file, packed)?;
    let unpacked = run(command("zstd").args(["-q", "-d", "-c"]).arg(&file))?;
    assert!(unpacked == before);

    let states = states(&before, &image, Medium::Spi.id_block_offset())?;
    let half = &states[states.len() / 2];
    assert!(*half != before && *half != image);
    u_boot.write(BOOT_FLASH.start, half)?;
    u_boot.set_environment(factory)?;
    // The agent removes this file before it erases the first block.
    scene.card.remove("gate.env")?;
    let console = power_on(&scene)?;
    assert!(console.contains("gild: already done"), "{console}");
    assert!(console.contains("gild: boot order written"), "{console}");
    assert!(u_boot.read(&BOOT_FLASH)? == image);
    assert_eq!(
        flash_backup(&scene)?,
        backup,
        "half a flash is not a backup"
    );
    Ok(())
}

fn flash_backup(scene: &Scene) -> Result<String> {
    let names = scene.card.names()?;
    let backups: Vec<_> = names
        .iter()
        .filter(|name| name.starts_with("flash-"))
        .collect();
    match backups[..] {
        [backup] => Ok(backup.clone()),
        _ => bail!("the backups on the card are {backups:?}"),
    }
}

mod campaign {
    use super::*;

    #[test]
    fn a_power_cut_at_any_step_of_the_order_s_change_is_completed_by_the_next_power_on()
    -> Result<()> {
        a_power_cut_in_the_order_s_change("chain-cuts", |_, _| true)
    }
}
