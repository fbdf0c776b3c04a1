//! The power is cut in the middle of every change to card and flash, and the next power-on completes the change.

mod campaign;

use gild_boards::rk3588::ENVIRONMENT;
use sha2::{Digest, Sha256};

use super::tests::{
    BLOCK, CHANGED, FACTORY, SERIAL, backups, chip, environment as variables, is_safe, set_with,
    wanted,
};
use super::*;
use crate::boot_order::stand_in::{MemoryCard, MemoryNor, Power, Torn};
use crate::boot_order::vendor::{MAINLINE, Workshop};
use crate::card::folder::Folder;

const GATE: &[u8] = b"rock5b=rock5b-1\nrpi5=rpi5-1\n";

fn is_closed(card: &MemoryCard) -> bool {
    card.text("gate.env").as_deref() == Some("rpi5=rpi5-1\n")
}

/// The files that say that a change has begun.
fn marks(card: &MemoryCard) -> Vec<String> {
    let names = card.names().expect("the names").into_iter();
    names.filter(|name| name.ends_with(".writing")).collect()
}

/// Writes the whole flash.
fn survives_every_cut(old: &[u8], block: usize, card_starts: bool) {
    let image = wanted();
    let new = chip(&image);
    for torn in Torn::ALL {
        for changes in 0.. {
            let case = format!("{torn:?} after {changes} changes");
            let power = Power::on();
            let card = MemoryCard::new(&power);
            card.put_firmware(SPI_IMAGE, &image);
            card.put("gate.env", GATE);
            let boot = MemoryNor::new(&power, block, old.to_vec());
            boot.torn.set(torn);
            let set = || set_with(&card, Some(&boot), None, card_starts);
            power.cut_after(changes);
            let cut = set();
            let is_cut = power.is_cut();
            power.restore();
            if !is_cut {
                assert_eq!(cut, Ok(BootOrder::Written));
                assert!(changes > 7, "{case}");
                break;
            }
            let found = boot.bytes.borrow().clone();
            assert!(is_safe(&found, [old, &new]), "{case}");
            assert!(found == old || is_closed(&card), "{case}");
            let expected = if found == new {
                BootOrder::AlreadyRight
            } else {
                BootOrder::Written
            };
            assert_eq!(set(), Ok(expected), "{case}");
            assert!(*boot.bytes.borrow() == new, "{case}");
            let kept = backups(&card);
            if old == chip(&[]) {
                assert!(kept.is_empty(), "{case}");
            } else {
                assert!(kept == [old], "{case}");
            }
            assert!(marks(&card).is_empty(), "{case}");
        }
    }
}

#[test]
fn a_cut_at_every_step_of_a_new_order_is_completed_by_the_next_power_on() {
    survives_every_cut(&chip(&Workshop::new().rock5b_spi(MAINLINE)), BLOCK, true);
}

#[test]
fn a_cut_at_every_step_of_the_first_write_is_completed_by_the_next_power_on() {
    // An empty flash starts nothing, so nothing can be lost, whatever the card has. The blocks are large here, because each costs a start.
    survives_every_cut(&chip(&[]), 64 << 10, false);
}

/// A board with an environment, in the boot flash or in its own flash.
struct Board {
    block: usize,
    declared: Option<Vec<u8>>,
    boot: Option<Vec<u8>>,
    has_file: bool,
}

impl Board {
    /// The content of the two flashes after the change to `new`.
    fn environments(&self, new: &[u8]) -> [Option<Vec<u8>>; 2] {
        let declared = self.declared.as_ref().map(|_| new.to_vec());
        let mut boot = self.boot.clone();
        if let (Some(boot), None) = (&mut boot, &declared) {
            boot[ENVIRONMENT].copy_from_slice(new);
        }
        [declared, boot]
    }

    fn survives_every_cut(&self, new: &[u8]) {
        for torn in Torn::ALL {
            for changes in 0.. {
                if !self.survives_a_cut(new, torn, changes) {
                    assert!(changes > 5, "{changes} changes");
                    break;
                }
            }
        }
    }

    /// Whether the power went at all.
    fn survives_a_cut(&self, new: &[u8], torn: Torn, changes: u32) -> bool {
        let case = format!("{torn:?} after {changes} changes");
        let power = Power::on();
        let card = MemoryCard::new(&power);
        card.put("gate.env", GATE);
        if self.has_file {
            card.put_firmware(SPI_IMAGE, &wanted());
        }
        let flash = |bytes: &Vec<u8>| {
            let flash = MemoryNor::new(&power, self.block, bytes.clone());
            flash.torn.set(torn);
            flash
        };
        let (declared, boot) = (
            self.declared.as_ref().map(flash),
            self.boot.as_ref().map(flash),
        );
        let held = || [&declared, &boot].map(|flash| Some(flash.as_ref()?.bytes.borrow().clone()));
        let set = || set_with(&card, boot.as_ref(), declared.as_ref(), true);
        let (old, new) = (held(), self.environments(new));
        power.cut_after(changes);
        let cut = set();
        let is_cut = power.is_cut();
        power.restore();
        if !is_cut {
            assert_eq!(cut, Ok(BootOrder::Written));
            assert!(held() == new);
            return false;
        }
        assert!(held() == old || is_closed(&card), "{case}");
        let expected = if held() == new {
            BootOrder::AlreadyRight
        } else {
            BootOrder::Written
        };
        assert_eq!(set(), Ok(expected), "{case}");
        assert!(held() == new, "{case}");
        assert!(marks(&card).is_empty(), "{case}");
        true
    }
}

#[test]
fn a_cut_at_every_step_of_a_new_environment_is_completed_by_the_next_power_on() {
    let size = 256 << 10;
    let board = Board {
        block: size,
        declared: Some(variables(FACTORY, size)),
        boot: None,
        has_file: false,
    };
    board.survives_every_cut(&variables(CHANGED, size));
}

/// The order is in a block other than that of the checksum.
#[test]
fn a_cut_in_the_middle_of_an_environment_is_completed_by_the_next_power_on() {
    let size = 64 << 10;
    let long = |text: &str| variables(&format!("note={}\n{text}", "x".repeat(10_000)), size);
    let board = Board {
        block: BLOCK,
        declared: Some(long(FACTORY)),
        boot: None,
        has_file: false,
    };
    board.survives_every_cut(&long(CHANGED));
}

/// The built-in order has the disk first, so the board starts the disk. If nobody looked, the environment would be lost.
#[test]
fn a_cut_of_an_environment_is_completed_where_the_built_in_order_is_right() {
    let own = chip(&Workshop::new().rock5b_spi("nvme mmc1 mmc0 usb scsi pxe dhcp spi"));
    let mut boot = own.clone();
    boot[ENVIRONMENT].copy_from_slice(&variables(FACTORY, ENVIRONMENT.len()));
    let board = Board {
        block: BLOCK,
        declared: None,
        boot: Some(boot),
        has_file: false,
    };
    board.survives_every_cut(&variables(CHANGED, ENVIRONMENT.len()));
    for has_file in [false, true] {
        let board = Board {
            block: BLOCK,
            declared: Some(variables(FACTORY, ENVIRONMENT.len())),
            boot: Some(own.clone()),
            has_file,
        };
        board.survives_every_cut(&variables(CHANGED, ENVIRONMENT.len()));
    }
}

/// A flash whose change was cut in the middle of its first erase, and the card with the mark of that change.
fn interrupted(old: &[u8], file: Option<&[u8]>) -> (MemoryCard, MemoryNor) {
    let power = Power::on();
    let card = MemoryCard::new(&power);
    if let Some(file) = file {
        card.put_firmware(SPI_IMAGE, file);
    }
    let flash = MemoryNor::new(&power, BLOCK, old.to_vec());
    for changes in 0.. {
        power.cut_after(changes);
        let set = match file {
            Some(_) => set_with(&card, Some(&flash), None, true),
            None => set_with(&card, None, Some(&flash), true),
        };
        set.expect_err("the power went");
        power.restore();
        if *flash.bytes.borrow() != old {
            break;
        }
    }
    assert_eq!(marks(&card).len(), 1);
    (card, flash)
}

#[test]
fn what_came_into_an_environment_s_place_after_a_cut_is_left_alone() {
    let old = variables(FACTORY, 64 << 10);
    let (card, flash) = interrupted(&old, None);
    let set = || set_with(&card, None, Some(&flash), true);
    let torn = flash.bytes.borrow().clone();
    let erased = vec![0xff; old.len()];
    let firmware: Vec<u8> = (0..=255).cycle().take(old.len()).collect();
    for found in [erased, firmware] {
        flash.bytes.borrow_mut().clone_from(&found);
        let error = set().expect_err("somebody else's");
        assert_eq!(error.kind, Kind::NotPossible);
        assert!(error.reason.contains("something else"), "{error}");
        assert!(*flash.bytes.borrow() == found);
    }
    // Without the mark nothing shows that this program tore the flash. A mark that names another backup does not show it either.
    flash.bytes.borrow_mut().clone_from(&torn);
    let mark = format!("env-{SERIAL}.writing");
    let text = card.text(&mark).expect("a mark");
    for other in ["", &text.replace("before=", "before=00")] {
        card.put(&mark, other.as_bytes());
        let error = set().expect_err("no mark of this backup");
        assert!(error.reason.contains("something else"), "{error}");
        assert!(*flash.bytes.borrow() == torn);
    }
    card.put(&mark, text.as_bytes());
    assert_eq!(set(), Ok(BootOrder::Written));
    assert!(*flash.bytes.borrow() == variables(CHANGED, old.len()));
}

#[test]
fn what_came_into_the_boot_flash_after_a_cut_is_left_alone_when_nothing_else_starts_the_board() {
    let image = wanted();
    let old = chip(&Workshop::new().rock5b_spi(MAINLINE));
    let (card, boot) = interrupted(&old, Some(&image));
    let set = || set_with(&card, Some(&boot), None, false);
    let torn = boot.bytes.borrow().clone();
    // One content was put back by hand, and this program cannot read the other.
    for found in [old.clone(), vec![7; FLASH_SIZE]] {
        boot.bytes.borrow_mut().clone_from(&found);
        let error = set().expect_err("no way back");
        assert_eq!(error.kind, Kind::NotPossible);
        assert!(*boot.bytes.borrow() == found);
    }
    boot.bytes.borrow_mut().clone_from(&torn);
    assert_eq!(set(), Ok(BootOrder::Written));
    assert!(*boot.bytes.borrow() == chip(&image));
    assert!(backups(&card) == [old]);
}

#[test]
fn a_card_that_does_not_keep_the_mark_changes_nothing() {
    let old = variables(FACTORY, 64 << 10);
    let flash = MemoryNor::new(&Power::on(), BLOCK, old.clone());
    let card = MemoryCard::new(&Power::on());
    card.bad.set(Some(format!("env-{SERIAL}.writing").leak()));
    let error = set_with(&card, None, Some(&flash), true).expect_err("no mark");
    assert_eq!(error.kind, Kind::Failed);
    assert!(error.reason.contains("reads back"), "{error}");
    assert!(*flash.bytes.borrow() == old);
}

/// An operator erases U-Boot's environment by hand, to get the built-in order back.
#[test]
fn an_environment_removed_after_a_cut_is_not_put_back_where_the_built_in_order_is_right() {
    let mut own = chip(&wanted());
    own[ENVIRONMENT].copy_from_slice(&variables(FACTORY, ENVIRONMENT.len()));
    let power = Power::on();
    let card = MemoryCard::new(&power);
    let boot = MemoryNor::new(&power, BLOCK, own);
    let old = variables(FACTORY, ENVIRONMENT.len());
    card.put(&format!("env-{SERIAL}.bin"), &old);
    let digest = hex::encode(Sha256::digest(&old));
    card.put(
        &format!("env-{SERIAL}.writing"),
        format!("before={digest}\n").as_bytes(),
    );
    boot.bytes.borrow_mut()[ENVIRONMENT].fill(0xff);
    assert_eq!(
        set_with(&card, Some(&boot), None, true),
        Ok(BootOrder::AlreadyRight)
    );
    assert!(*boot.bytes.borrow() == chip(&wanted()));
}

#[test]
fn an_image_ends_the_change_of_an_environment() {
    let mut old = chip(&Workshop::new().rock5b_spi(MAINLINE));
    old[ENVIRONMENT].copy_from_slice(&variables(FACTORY, ENVIRONMENT.len()));
    let power = Power::on();
    let card = MemoryCard::new(&power);
    let boot = MemoryNor::new(&power, BLOCK, old.clone());
    let set = || set_with(&card, Some(&boot), None, true);
    // Two changes are the backup and the mark. Then the first erase is cut.
    power.cut_after(2);
    set().expect_err("the power went");
    power.restore();
    assert!(*boot.bytes.borrow() != old && marks(&card).len() == 1);
    card.put_firmware(SPI_IMAGE, &wanted());
    assert_eq!(set(), Ok(BootOrder::Written));
    assert!(*boot.bytes.borrow() == chip(&wanted()));
    assert!(marks(&card).is_empty());
}
