//! The whole chain of the Raspberry Pi 5, from power-on with an empty disk to the golden image. The card is from `gild card build`.
//!
//! Real: kernel, initramfs, command line and configuration on the card and on the disk, and the agent. Simulated: the hardware, and the
//! board's firmware, which the harness plays at each start (`gild_tests::pi5`, `gild_tests::eeprom`). The vendor's files are stand-ins made
//! from their documented format.

use anyhow::{Context, Result};
use gild_boards::rpi_eeprom::set_keys;
use gild_card::firmware::Rpi5;
use gild_tests::board_dtb::Product;
use gild_tests::disk;
use gild_tests::eeprom::{self, Eeprom};
use gild_tests::pi5::{Medium, Pi5};
use gild_tests::scene::{DISK_SIZE, PATIENCE, Scene};
use gild_tests::virtual_board::{End, VirtualBoard};

/// A bare board as the factory sells it, a whole card in its slot.
fn bare(name: &str) -> Result<(Scene, Pi5)> {
    let mut scene = Scene::new(name, Product::Rpi5)?;
    scene.use_eeprom()?;
    Ok((scene, Pi5::default()))
}

fn is_the_golden_image(scene: &Scene, medium: Medium, mut board: VirtualBoard) -> Result<()> {
    assert_eq!(medium, Medium::Nvme);
    let line = board.wait_for("golden: image", PATIENCE)?;
    assert!(line.contains(&*scene.share.golden.image_id), "{line}");
    assert_eq!(board.wait_end(PATIENCE)?, End::PowerOff);
    Ok(())
}

/// Applies power and leaves the board alone until its golden image has run. Returns what the agent said, if it ran.
fn power_on(scene: &mut Scene, pi5: &mut Pi5) -> Result<Option<String>> {
    let (medium, mut board) = pi5.power_on(scene)?;
    if medium == Medium::Nvme {
        is_the_golden_image(scene, medium, board)?;
        return Ok(None);
    }
    board.tolerate_faults();
    board.wait_for("gild: done, rebooting", PATIENCE)?;
    assert_eq!(board.wait_end(PATIENCE)?, End::Reset);
    let console = board.console().join("\n");
    drop(board);
    let (medium, board) = pi5.restart(scene)?;
    is_the_golden_image(scene, medium, board)?;
    Ok(Some(console))
}

fn is_nvme_first(scene: &Scene) -> Result<bool> {
    let eeprom = scene.hardware.eeprom.as_ref().context("an EEPROM")?;
    Ok(eeprom.boot_order()?.is_nvme_first())
}

fn eeprom_order(scene: &mut Scene, order: &str) -> Result<()> {
    let eeprom = scene.hardware.eeprom.as_mut().context("an EEPROM")?;
    let config = set_keys(eeprom.config()?.as_bytes(), &[("BOOT_ORDER", order)])?;
    eeprom.set_config(str::from_utf8(&config)?)
}

#[test]
fn one_power_on_takes_a_bare_board_to_its_golden_image_and_it_stays_there() -> Result<()> {
    let (mut scene, mut pi5) = bare("pi5-chain")?;
    assert!(!is_nvme_first(&scene)?);
    let agent = power_on(&mut scene, &mut pi5)?.context("the card was started")?;
    assert!(agent.contains("gild: boot order staged"), "{agent}");
    assert!(!agent.contains("FAULT"), "{agent}");
    assert_eq!(scene.receipt()?["outcome"], "flashed");
    assert!(is_nvme_first(&scene)?);

    let agent = power_on(&mut scene, &mut pi5)?;
    assert_eq!(agent, None, "the disk comes first now");

    // Somebody puts the card first again in the EEPROM. The agent reports that and leaves it so, but still starts the disk.
    eeprom_order(&mut scene, "0xf461")?;
    let agent = power_on(&mut scene, &mut pi5)?.context("the card was started")?;
    assert!(agent.contains("gild: already done"), "{agent}");
    assert!(
        agent.contains("FAULT 8: the EEPROM holds the image"),
        "{agent}"
    );
    assert!(!agent.contains("gild: stage network"), "{agent}");
    eeprom_order(&mut scene, "0xf416")?;

    // The old disk is replaced by a new one.
    disk::blank(&scene.nvme(), DISK_SIZE)?;
    scene.hardware.nvme[0].serial = "NVME-SIM-0002".into();
    let agent = power_on(&mut scene, &mut pi5)?.context("the card was started")?;
    assert!(agent.contains("gild: stage commit"), "{agent}");

    scene.hardware.card = None;
    assert_eq!(power_on(&mut scene, &mut pi5)?, None);
    Ok(())
}

/// The first cut is real, just before the first file. The others are simulated from the files that the agent writes, in its order. The last
/// file of each is half written. `chosen` picks them by the number of whole files.
fn a_power_cut_in_the_update(name: &str, chosen: impl Fn(usize) -> bool) -> Result<()> {
    let (mut scene, mut pi5) = bare(name)?;
    let (_, mut board) = pi5.power_on(&mut scene)?;
    board.wait_for("gild: stage boot-order", PATIENCE)?;
    board.cut_power()?;
    let (before, target) = (scene.path().join("card-as-cut.img"), scene.nvme());
    let flashed = scene.path().join("flashed.img");
    disk::copy(scene.card.image(), &before)?;
    disk::copy(&target, &flashed)?;

    let Rpi5 { upd, sig, recovery } = eeprom::files_for_the_card()?;
    let count = format!("gild-{}.eeprom", Product::Rpi5.mac12());
    let writes: [(&str, &[u8]); 5] = [
        ("pieeprom.upd", &upd),
        ("pieeprom.sig", sig.as_bytes()),
        ("recovery.tmp", &recovery),
        (&count, b"update=1\nattempts=1\n"),
        ("recovery.bin", &recovery),
    ];
    for done in (0..=writes.len()).filter(|done| chosen(*done)) {
        disk::copy(&before, scene.card.image())?;
        disk::copy(&flashed, &target)?;
        scene.hardware.eeprom = Some(Eeprom::new()?);
        for (name, content) in &writes[..done] {
            scene.card.put(name, content)?;
        }
        // A rename makes the last file appear, so it is never half written.
        if let Some((name, content)) = writes[..writes.len() - 1].get(done) {
            scene.card.put(name, &content[..content.len() / 2])?;
        }
        power_on(&mut scene, &mut pi5).with_context(|| format!("after {done} files"))?;
        assert!(is_nvme_first(&scene)?, "after {done} files");
    }
    Ok(())
}

#[test]
fn a_power_cut_in_the_update_is_completed_by_the_next_power_on() -> Result<()> {
    a_power_cut_in_the_update("pi5-cut", |done| done == 2)
}

mod campaign {
    use super::*;

    #[test]
    fn a_power_cut_at_any_step_of_the_update_is_completed_by_the_next_power_on() -> Result<()> {
        a_power_cut_in_the_update("pi5-cuts", |_| true)
    }
}
