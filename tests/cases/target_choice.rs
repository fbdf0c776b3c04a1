//! Which disk is written, and what happens if the choice is not clear.

use anyhow::Result;
use gild_tests::board_dtb::Product;
use gild_tests::disk;
use gild_tests::scene::{DISK_SIZE, PATIENCE, Scene};
use gild_tests::virtual_board::{End, Nvme};

/// No port has hot-plug here, as on the boards. The kernel looks at each port only once (`pcie_ports=compat` removes the service).
#[test]
fn a_disk_that_comes_late_is_found_without_hot_plug() -> Result<()> {
    let mut scene = Scene::new("late-disk", Product::Rpi5)?;
    let nvme = scene.hardware.nvme.remove(0);
    scene.hardware.spare_slot = true;
    // Without a disk the board restarts after this time. The new disk comes before that.
    scene.arguments = "gild.hold_seconds=6 pcie_ports=compat".into();

    let mut board = scene.power_on()?;
    board.wait_for_fault(5, PATIENCE)?;
    board.plug_nvme(0, &nvme)?;
    board.wait_for("looking again for devices on PCI Express", PATIENCE)?;
    let receipt = scene.finish(&mut board)?;

    scene.hardware.nvme.push(nvme);
    assert_eq!(receipt["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}

#[test]
fn a_board_without_a_disk_restarts_with_growing_pauses() -> Result<()> {
    let mut scene = Scene::new("no-disk", Product::Rpi5)?;
    let nvme = scene.hardware.nvme.remove(0);

    for pause in [2, 4] {
        let mut board = scene.power_on()?;
        // The pauses are only seconds here, so on a busy machine the restart may come before the LED has blinked five times.
        board.tolerate_faults();
        board.wait_for("gild: FAULT 5:", PATIENCE)?;
        board.wait_for(&format!("and restarting the board in {pause} s"), PATIENCE)?;
        board.wait_for("restarting the board: what", PATIENCE)?;
        assert_eq!(board.wait_end(PATIENCE)?, End::Reset);
    }
    let counts = || -> Result<Vec<String>> {
        let names = scene.card.names()?.into_iter();
        Ok(names
            .filter(|name| name.to_lowercase().ends_with(".restarts"))
            .collect())
    };
    assert_eq!(counts()?.len(), 1);
    scene.hardware.nvme.push(nvme);
    assert_eq!(scene.flash()?["outcome"], "flashed");
    assert_eq!(counts()?, [""; 0], "the next trouble is a new one");
    Ok(())
}

#[test]
fn a_finished_node_whose_disk_is_late_restarts_and_starts_it_while_the_server_is_away() -> Result<()>
{
    let mut scene = Scene::new("late-finished-disk", Product::Rpi5)?;
    assert_eq!(scene.flash()?["outcome"], "flashed");
    scene.server.stop();
    let nvme = scene.hardware.nvme.remove(0);

    let mut board = scene.power_on()?;
    // The restart comes before the LED has blinked five times.
    board.tolerate_faults();
    let line = board.wait_for("gild: FAULT", PATIENCE)?;
    assert!(line.contains("FAULT 5: no NVMe disk"), "{line}");
    board.wait_for("restarting the board: what", PATIENCE)?;
    assert_eq!(board.wait_end(PATIENCE)?, End::Reset);
    drop(board);

    scene.hardware.nvme.push(nvme);
    assert_eq!(scene.flash()?["outcome"], "already-done");
    Ok(())
}

fn with_second_disk(name: &str) -> Result<Scene> {
    let mut scene = Scene::new(name, Product::Rock5b)?;
    let second = scene.path().join("second.img");
    disk::blank(&second, DISK_SIZE)?;
    scene.hardware.nvme.push(Nvme {
        serial: "NVME-SIM-0002".into(),
        ..Nvme::new(&second)
    });
    Ok(scene)
}

#[test]
fn two_disks_are_fault_5_and_neither_is_touched() -> Result<()> {
    let scene = with_second_disk("two-disks")?;

    let mut board = scene.power_on()?;
    let line = board.wait_for_fault_on_the_led(5, PATIENCE)?;

    let note = scene.note()?;
    for serial in ["NVME-SIM-0001", "NVME-SIM-0002"] {
        assert!(
            line.contains(serial) || note.contains(serial),
            "both disks are named: {line}\n{note}"
        );
    }
    assert_eq!(disk::allocated(&scene.hardware.nvme[1].file)?, 0);
    scene.assert_disk_is_untouched()
}

#[test]
fn of_two_disks_the_one_named_by_its_serial_is_written() -> Result<()> {
    let mut scene = with_second_disk("named-disk")?;
    scene.card.write(
        "gild.toml",
        &format!(
            "{}[target]\nserial = \"NVME-SIM-0002\"\n",
            scene.configuration()
        ),
    )?;

    let receipt = scene.flash()?;

    assert_eq!(receipt["target"]["serial"], "NVME-SIM-0002");
    scene.assert_disk_is_untouched()?;
    scene.hardware.nvme.remove(0);
    scene.assert_disk_is_the_image()
}

#[test]
fn a_disk_smaller_than_the_image_is_fault_5() -> Result<()> {
    let scene = Scene::new("small-disk", Product::Rpi5)?;
    disk::blank(&scene.nvme(), 128 << 20)?;

    let mut board = scene.power_on()?;
    board.wait_for_fault(5, PATIENCE)?;

    scene.assert_disk_is_untouched()
}

#[test]
fn a_disk_of_4096_byte_sectors_is_fault_5_for_an_image_of_512() -> Result<()> {
    let mut scene = Scene::new("sector-size", Product::Rock5b)?;
    scene.hardware.nvme[0].sector_size = 4096;

    let mut board = scene.power_on()?;
    let line = board.wait_for_fault(5, PATIENCE)?;

    assert!(line.contains("4096"), "the line says what is wrong: {line}");
    scene.assert_disk_is_untouched()
}
