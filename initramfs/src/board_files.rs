//! What each board's firmware reads on the card.

use std::path::Path;

use gild_boards::{Board, BootFirmware};

use crate::collection::Collection;
use crate::{Error, boot, device_tree, read};

/// Puts the files of one board on the card.
pub fn put(kernel: &Path, board: &Board, files: &mut Collection) -> Result<(), Error> {
    match board.boot_firmware {
        BootFirmware::RpiEeprom => {
            let arguments = boot::kernel_arguments(board) + "\n";
            let config = boot::config_txt().into_bytes();
            files.put(&board.name, boot::CONFIG_TXT, config)?;
            files.put(&board.name, boot::CMDLINE_TXT, arguments.into_bytes())?;
            put_edited_trees(kernel, board, files)
        }
        BootFirmware::Rk3588Spi => {
            files.put(&board.name, boot::BOOT_SCR, boot::boot_scr(board)?)?;
            let path = kernel.join("dtb").join(&board.dtb[0]);
            let tree = read(&path)?;
            device_tree::check(&tree, board.identity())
                .map_err(|source| Error::DeviceTree { path, source })?;
            Ok(files.put(&board.name, &board.dtb[0], tree)?)
        }
    }
}

/// The device tree that the Raspberry Pi's firmware loads, and what it changes in it on a board with the newer stepping.
fn put_edited_trees(kernel: &Path, board: &Board, files: &mut Collection) -> Result<(), Error> {
    let edited = |path: &str| {
        let path = kernel.join("dtb").join(path);
        let tree = device_tree::edit(&read(&path)?, board.identity());
        tree.map_err(|source| Error::DeviceTree { path, source })
    };
    let base = edited(&board.dtb[0])?;
    if let Some(stepping) = &board.stepping {
        let newer = edited(&stepping.dtb)?;
        let overlay = device_tree::overlay(&base, &newer).map_err(|source| Error::DeviceTree {
            path: kernel.join("dtb").join(&stepping.dtb),
            source,
        })?;
        files.put(&board.name, &stepping.overlay, overlay)?;
        files.put(&board.name, &stepping.vendor_dtb, newer)?;
    }
    Ok(files.put(&board.name, board.base_dtb(), base)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use dtoolkit::fdt::Fdt;
    use dtoolkit::model::{DeviceTree, DeviceTreeProperty};

    use super::*;

    const NEWER: &str = "broadcom/bcm2712-d-rpi-5-b.dtb";

    fn real() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kernel")
    }

    /// Puts the files of the Raspberry Pi 5 and of a board like it on one card.
    fn two_boards(kernel: &Path, change: impl FnOnce(&mut Board)) -> Result<(), String> {
        let first = gild_boards::by_name("rpi5").expect("a board");
        let mut second = first.clone();
        "other".clone_into(&mut second.name);
        change(&mut second);
        let mut files = Collection::default();
        for board in [first, &second] {
            put(kernel, board, &mut files).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    #[test]
    fn two_boards_with_one_firmware_share_what_is_the_same() {
        assert_eq!(two_boards(&real(), |_| ()), Ok(()));
    }

    #[test]
    fn an_overlay_of_one_name_for_two_boards_is_refused_if_they_need_different_ones() {
        let kernel = tempfile::tempdir().expect("a folder");
        let dtb = kernel.path().join("dtb");
        fs::create_dir_all(dtb.join("broadcom")).expect("a folder");
        for tree in &gild_boards::by_name("rpi5").expect("a board").dtb {
            fs::copy(real().join("dtb").join(tree), dtb.join(tree)).expect("a device tree");
        }
        let newer = fs::read(dtb.join(NEWER)).expect("a device tree");
        let mut tree = DeviceTree::from_fdt(&Fdt::new(&newer).expect("a device tree"));
        let pins = tree.find_node_mut("/soc@107c000000/pinctrl@7d504100");
        let property = DeviceTreeProperty::new_unchecked("other", 1u32);
        pins.expect("the pins").add_property(property);
        fs::write(dtb.join("other.dtb"), tree.to_dtb()).expect("another device tree");
        let has_another = |board: &mut Board| {
            let stepping = board.stepping.as_mut().expect("a newer stepping");
            "other.dtb".clone_into(&mut stepping.dtb);
            "other.dtb".clone_into(&mut stepping.vendor_dtb);
        };

        let said = two_boards(kernel.path(), has_another).expect_err("two overlays");
        assert!(
            said.starts_with(
                "overlays/bcm2712d0.dtbo on the card would be two different files, one for rpi5 and one for other, so no card \
                 can start both; next: "
            ),
            "{said}"
        );

        let renamed = two_boards(kernel.path(), |board| {
            has_another(board);
            let stepping = board.stepping.as_mut().expect("a newer stepping");
            "overlays/other.dtbo".clone_into(&mut stepping.overlay);
        });
        assert_eq!(renamed, Ok(()));
    }

    #[test]
    fn kernel_arguments_for_two_boards_are_refused_if_they_need_different_ones() {
        let said =
            two_boards(&real(), |board| board.console.baud = 9600).expect_err("two consoles");
        assert!(
            said.starts_with("cmdline.txt on the card would be"),
            "{said}"
        );
    }
}
