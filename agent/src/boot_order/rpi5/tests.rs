mod attempts;
mod campaign;
mod content;

use std::cell::RefCell;

use gild_boards::rpi_eeprom::{Image, Signature, set_keys};
use gild_card_format::BootOrderPolicy;
use gild_card_format::names::{RECOVERY, RECOVERY_BEFORE, SIG, UPD};

use super::*;
use crate::boot_order::Kind;
use crate::boot_order::stand_in::{MemoryCard, Power};
use crate::boot_order::vendor;
use crate::card::folder::Folder;

const FACTORY: &str = "[all]\nBOOT_UART=1\nBOOT_ORDER=0xf461\n";
const RECOVERY_BIN: &[u8] = b"stand-in for recovery.bin";
/// When the stand-in for the board's firmware was built, and the one on the card.
const OLD: u32 = 1_700_000_000;
const NEW: u32 = 1_779_807_685;

/// A stand-in for the vendor's image, with the order set as `gild card build` does it, and its `.sig`.
fn update() -> (Vec<u8>, String, u32) {
    let mut bytes = vendor::eeprom_2712();
    let version = format!("BUILD_TIMESTAMP={NEW}\0MFG_VER: 3\0");
    bytes[0x2000..0x2000 + version.len()].copy_from_slice(version.as_bytes());
    let mut image = Image::parse(bytes).expect("an image");
    let keys = [("BOOT_ORDER", "0xf416"), ("PCIE_PROBE", "1")];
    let config = set_keys(FACTORY.as_bytes(), &keys).expect("keys");
    image.set_config(&config).expect("a configuration");
    let upd = image.bytes().to_vec();
    let sig = Signature::of(&upd, NEW + 7);
    (upd, sig.to_text(), NEW + 7)
}

fn card(power: &Power) -> MemoryCard {
    let card = MemoryCard::new(power);
    let (upd, sig, _) = update();
    for (path, content) in EEPROM_FILES
        .into_iter()
        .zip([&upd[..], sig.as_bytes(), RECOVERY_BIN])
    {
        card.put_firmware(path, content);
    }
    card
}

fn factory() -> Running {
    Running {
        build: Some(OLD),
        update: Some(OLD),
        is_signed: false,
        least_version: 2,
        config: Some(FACTORY.into()),
        start: Some("start 0".to_owned()),
    }
}

/// A restart in which the ROM did nothing.
fn restart(running: &mut Running) {
    let start = running
        .start
        .as_deref()
        .and_then(|name| name.strip_prefix("start "));
    let number: u32 = start.expect("a name").parse().expect("a number");
    running.start = Some(format!("start {}", number + 1));
}

fn set_on(card: &MemoryCard, running: &Running) -> Result<BootOrder, BootOrderError> {
    set_by(BootOrderPolicy::default(), card, running)
}

fn set_by(
    policy: BootOrderPolicy,
    card: &MemoryCard,
    running: &Running,
) -> Result<BootOrder, BootOrderError> {
    set_and_tell(policy, card, running, Standing::Proven).0
}

fn set_after_coming_back(
    card: &MemoryCard,
    running: &Running,
) -> Result<BootOrder, BootOrderError> {
    set_and_tell(
        BootOrderPolicy::default(),
        card,
        running,
        Standing::CameBack,
    )
    .0
}

/// Sets the order, and also returns the changes.
fn set_and_tell(
    policy: BootOrderPolicy,
    card: &MemoryCard,
    running: &Running,
    standing: Standing,
) -> (Result<BootOrder, BootOrderError>, Vec<String>) {
    let changes = RefCell::new(Vec::new());
    let job = Job {
        board: gild_boards::by_name("rpi5").expect("a board"),
        id: "d83add123456".to_owned(),
        card,
        policy,
        standing,
        is_boot_medium: true,
        changed: &|change| changes.borrow_mut().push(change),
        alive: &|| (),
    };
    let outcome = set(&job, running);
    (outcome, changes.into_inner())
}

/// What the board's ROM does at a restart, by the vendor's documentation. Without `recovery.bin` it does nothing. Otherwise it checks the
/// digest, writes the EEPROM and renames the file.
fn rom(card: &MemoryCard, running: &mut Running) {
    restart(running);
    if card.get(RECOVERY).as_deref() != Some(RECOVERY_BIN) {
        assert_eq!(card.get(RECOVERY), None, "the ROM would run nonsense");
        return;
    }
    let upd = card.get(UPD).expect("the image");
    let sig = Signature::parse(&card.text(SIG).expect("its digest")).expect("a digest");
    assert!(
        sig.matches(&upd),
        "the ROM shows a red screen and stays there"
    );
    let image = Image::parse(upd).expect("an image");
    *running = Running {
        build: image.build_timestamp(),
        update: sig.timestamp,
        config: Some(image.config().expect("one").to_vec()),
        ..running.clone()
    };
    card.rename(RECOVERY, "recovery.000").expect("a rename");
}

#[test]
fn an_update_is_staged_taken_by_the_rom_and_found_done() {
    let card = card(&Power::on());
    let mut running = factory();
    assert_eq!(set_on(&card, &running), Ok(BootOrder::Staged));
    assert_eq!(card.get(RECOVERY_BEFORE), None);
    rom(&card, &mut running);
    let config = running.config.clone().expect("a configuration");
    assert_eq!(get_key(&config, "BOOT_ORDER"), Some(&b"0xf416"[..]));
    assert_eq!(set_on(&card, &running), Ok(BootOrder::AlreadyRight));
    let left = card.names().expect("the names");
    assert_eq!(left, ["SHA256SUMS"]);
    // If the firmware does not show its configuration, the time of the update shows the same.
    running.config = None;
    assert_eq!(set_on(&card, &running), Ok(BootOrder::AlreadyRight));
}

#[test]
fn what_is_right_already_needs_no_files_and_no_card_that_can_be_written() {
    let card = MemoryCard::new(&Power::on());
    card.put("recovery.000", b"used");
    card.is_read_only.set(true);
    let running = Running {
        config: Some("[all]\nBOOT_ORDER=0xf16\n".into()),
        is_signed: true,
        ..factory()
    };
    assert_eq!(set_on(&card, &running), Ok(BootOrder::AlreadyRight));
}

/// `raspi-config` leaves an order like this. A HAT+ needs no more.
#[test]
fn the_disk_first_is_right_without_pcie_probe() {
    let running = Running {
        config: Some("[all]\nBOOT_ORDER=0xf416\n".into()),
        // The board's firmware is newer than the card's, so replacing it would be wrong.
        build: Some(NEW + 1),
        ..factory()
    };
    let card = card(&Power::on());
    assert_eq!(set_on(&card, &running), Ok(BootOrder::AlreadyRight));
    assert_eq!(card.get(RECOVERY), None);
}

#[test]
fn a_board_that_did_not_start_its_disk_gets_pcie_probe() {
    let mut running = Running {
        config: Some("[all]\nBOOT_ORDER=0xf2416\n".into()),
        ..factory()
    };
    let without = MemoryCard::new(&Power::on());
    assert_eq!(set_on(&without, &running), Ok(BootOrder::AlreadyRight));
    let error = set_after_coming_back(&without, &running).expect_err("no files");
    assert_eq!(error.kind, Kind::Known);
    assert!(error.reason.contains("PCIE_PROBE"), "{error}");

    let card = card(&Power::on());
    assert_eq!(
        set_after_coming_back(&card, &running),
        Ok(BootOrder::Staged)
    );
    rom(&card, &mut running);
    assert_eq!(
        running.config.as_deref(),
        Some(&b"[all]\nBOOT_ORDER=0xf2416\nPCIE_PROBE=1\n"[..])
    );
    // It already has everything that this step can give it.
    assert_eq!(
        set_after_coming_back(&card, &running),
        Ok(BootOrder::AlreadyRight)
    );
}

/// Without the card behind the disk, a board whose disk does not start would never look at a card.
#[test]
fn the_disk_first_and_no_card_after_it_is_put_right_where_that_can_be_done() {
    let mut running = Running {
        config: Some("[all]\nBOOT_ORDER=0xf46\n".into()),
        ..factory()
    };
    let without = MemoryCard::new(&Power::on());
    for came_back in [false, true] {
        let standing = if came_back {
            Standing::CameBack
        } else {
            Standing::Proven
        };
        let (outcome, _) = set_and_tell(BootOrderPolicy::default(), &without, &running, standing);
        let is_right = outcome == Ok(BootOrder::AlreadyRight);
        assert_eq!(is_right, !came_back, "it starts the disk");
    }
    let card = card(&Power::on());
    assert_eq!(set_on(&card, &running), Ok(BootOrder::Staged));
    rom(&card, &mut running);
    assert_eq!(
        running.config.as_deref(),
        Some(&b"[all]\nBOOT_ORDER=0xf416\nPCIE_PROBE=1\n"[..])
    );
}

#[test]
fn a_card_that_the_rom_does_not_read_gets_no_update() {
    let card = card(&Power::on());
    let before = card.names().expect("names");
    let job = Job {
        board: gild_boards::by_name("rpi5").expect("a board"),
        id: "d83add123456".to_owned(),
        card: &card,
        policy: BootOrderPolicy::default(),
        standing: Standing::Proven,
        is_boot_medium: false,
        changed: &|_| (),
        alive: &|| (),
    };
    let error = set(&job, &factory()).expect_err("a card in a reader");
    assert!(error.reason.contains("slot"), "{error}");
    assert_eq!(card.names().expect("names"), before);
}

#[test]
fn the_version_that_the_board_asks_for_is_enough() {
    for (least_version, is_enough) in [(3, true), (4, false)] {
        let running = Running {
            least_version,
            ..factory()
        };
        let outcome = set_on(&card(&Power::on()), &running);
        assert_eq!(outcome.is_ok(), is_enough, "{outcome:?}");
    }
}

/// Somebody has set the order by hand since. The ROM would do the same update again, with the same end.
#[test]
fn an_update_that_is_done_and_has_other_settings_is_not_made_again() {
    let card = card(&Power::on());
    let running = Running {
        update: Some(update().2),
        ..factory()
    };
    let error = set_on(&card, &running).expect_err("it was done");
    assert_eq!(error.kind, Kind::NotPossible);
    assert!(error.reason.contains("settings are other ones"), "{error}");
    assert_eq!(card.get(RECOVERY), None);
}

#[test]
fn a_card_without_files_says_so_and_what_to_do() {
    let card = MemoryCard::new(&Power::on());
    let error = set_on(&card, &factory()).expect_err("no files");
    assert_eq!(error.kind, Kind::Known);
    assert!(
        error.next_step.contains("--rpi-eeprom"),
        "{}",
        error.next_step
    );
}

/// A failed start of a disk on trial leads back to the card by its `config.txt`, if the firmware knows that line.
#[test]
fn only_a_board_that_could_not_start_its_disk_otherwise_gets_its_update_on_trial() {
    let since = 1_736_812_800;
    let update = |build: u32| Update {
        upd: Vec::new(),
        sig: Vec::new(),
        recovery: Vec::new(),
        time: 0,
        knows_reboot_order: knows_reboot_order(Some(build)),
        changes: Vec::new(),
    };
    let running = |build| Running {
        build: Some(build),
        ..Running::default()
    };
    for (running_build, update_build, lacks_probe, is_needed) in [
        (since, since, false, false),
        (since - 1, since, false, true),
        (since, since, true, true),
        (since - 1, since - 1, false, false),
        (since, since - 1, true, false),
    ] {
        let found =
            needs_update_to_start(&running(running_build), &update(update_build), lacks_probe);
        assert_eq!(
            found, is_needed,
            "{running_build} {update_build} {lacks_probe}"
        );
    }
}

#[test]
fn nothing_is_staged_for_a_disk_on_trial_and_what_was_staged_is_removed() {
    let card = card(&Power::on());
    let modern = Running {
        build: Some(OLD.max(1_736_812_800)),
        ..factory()
    };
    let ask = |running: &Running, standing| {
        let (outcome, _) = set_and_tell(BootOrderPolicy::default(), &card, running, standing);
        (outcome.expect_err("it waits").kind, card.get(RECOVERY))
    };
    card.put(RECOVERY, RECOVERY_BIN);
    for standing in [Standing::Planned, Standing::OnTrial] {
        assert_eq!(ask(&modern, standing), (Kind::Waits, None));
    }
    // This board cannot start the disk otherwise. Only asking still changes nothing.
    let old = Running {
        build: Some(1_736_812_799),
        ..factory()
    };
    assert_eq!(ask(&old, Standing::Planned), (Kind::Waits, None));
}
