mod campaign;

use std::cell::RefCell;

use gild_boards::rpi_eeprom::{get_key, set_keys};
use gild_card_format::BootOrderPolicy;

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

/// With what is changed.
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

/// What the board's ROM does at a restart, as the vendor documents it: nothing without `recovery.bin`, else it checks
/// the digest, writes the EEPROM and renames the file.
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
    // Where the firmware does not show its configuration, the time of the update says the same.
    running.config = None;
    assert_eq!(set_on(&card, &running), Ok(BootOrder::AlreadyRight));
}

/// Cuts the power in the middle of every change, on a card with these files in its root.
fn survives_every_cut(root: &[(&str, &[u8])]) {
    let mut changes = 0;
    loop {
        let power = Power::on();
        let card = card(&power);
        for (name, content) in root {
            card.put(name, content);
        }
        let mut running = factory();
        power.cut_after(changes);
        let cut = set_on(&card, &running);
        power.restore();
        if cut == Ok(BootOrder::Staged) {
            break;
        }
        cut.expect_err("the power went");
        // The ROM runs at every power-on, before the agent.
        rom(&card, &mut running);
        match set_on(&card, &running).expect("a second attempt") {
            BootOrder::Staged => {
                rom(&card, &mut running);
                assert_eq!(set_on(&card, &running), Ok(BootOrder::AlreadyRight));
            }
            outcome => assert_eq!(outcome, BootOrder::AlreadyRight),
        }
        changes += 1;
    }
    assert!(changes >= 7, "{changes} changes");
}

#[test]
fn a_cut_at_every_step_is_completed_by_the_next_power_on() {
    survives_every_cut(&[
        ("recovery.000", b"used"),
        ("pieeprom.upd", b"another one's"),
    ]);
}

#[test]
fn nothing_is_left_for_the_rom_before_it_is_counted() {
    for changes in 0..8 {
        let power = Power::on();
        let card = card(&power);
        power.cut_after(changes);
        // All of these end differently; what counts is what is on the card.
        let _ = set_on(&card, &factory());
        power.restore();
        let is_counted = card.get("gild-d83add123456.eeprom").is_some();
        assert!(is_counted || card.get(RECOVERY).is_none(), "{changes}");
    }
}

#[test]
fn a_cut_while_an_earlier_update_is_cleared_away_leaves_all_of_it_or_none() {
    let (upd, sig, _) = update();
    survives_every_cut(&[(UPD, &upd), (SIG, sig.as_bytes()), (RECOVERY, RECOVERY_BIN)]);
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

#[test]
fn two_fruitless_attempts_are_enough() {
    let card = card(&Power::on());
    let mut running = factory();
    for _ in 0..2 {
        assert_eq!(set_on(&card, &running), Ok(BootOrder::Staged));
        // A ROM that does not find the file.
        restart(&mut running);
    }
    let error = set_on(&card, &running).expect_err("a third attempt");
    assert_eq!(error.kind, Kind::NotPossible);
    assert!(error.reason.contains("2 attempts"), "{error}");
    assert_eq!(
        card.get(RECOVERY),
        None,
        "nothing is left for another board"
    );
}

/// The count comes before the rename that the ROM waits for.
#[test]
fn a_power_cut_before_the_rom_could_see_the_update_is_no_attempt() {
    let mut running = factory();
    let card = card(&Power::on());
    for _ in 0..5 {
        assert_eq!(set_on(&card, &running), Ok(BootOrder::Staged));
        card.rename(RECOVERY, RECOVERY_BEFORE)
            .expect("as it was before");
        restart(&mut running);
    }
    assert_eq!(set_on(&card, &running), Ok(BootOrder::Staged));
    rom(&card, &mut running);
    assert_eq!(set_on(&card, &running), Ok(BootOrder::AlreadyRight));
}

/// The ROM tries at a restart. A node that holds, and looks again each minute, has not tried anything.
#[test]
fn an_attempt_is_a_restart_and_not_a_look() {
    let card = card(&Power::on());
    let mut running = factory();
    for attempt in 1..=2 {
        for _ in 0..5 {
            let (outcome, changes) = set_and_tell(
                BootOrderPolicy::default(),
                &card,
                &running,
                Standing::Proven,
            );
            assert_eq!(outcome, Ok(BootOrder::Staged));
            assert!(changes.contains(&"BOOT_ORDER 0xf461 -> 0xf416".to_owned()));
            let count = card.text("gild-d83add123456.eeprom").expect("a count");
            assert!(count.contains(&format!("attempts={attempt}\n")), "{count}");
            assert_eq!(card.get(RECOVERY).as_deref(), Some(RECOVERY_BIN));
        }
        // What is not there any more, or is not what was staged, is staged again and is the same attempt.
        for name in [RECOVERY, SIG, UPD] {
            for damage in [None, Some(b"half a fi")] {
                match damage {
                    None => card.remove(name).expect("a file"),
                    Some(half) => card.put(name, half),
                }
                assert_eq!(set_on(&card, &running), Ok(BootOrder::Staged));
                let (upd, _, _) = update();
                assert_eq!(card.get(UPD), Some(upd));
                assert_eq!(card.get(RECOVERY).as_deref(), Some(RECOVERY_BIN), "{name}");
            }
        }
        restart(&mut running);
    }
    set_on(&card, &running).expect_err("a third attempt");
    // A count of an earlier agent, and a kernel that does not say which start this is.
    for start in [&running.start, &None] {
        let time = update().2;
        card.put(
            "gild-d83add123456.eeprom",
            format!("update={time}\nattempts=2\n").as_bytes(),
        );
        let running = Running {
            start: start.clone(),
            ..factory()
        };
        set_on(&card, &running).expect_err("a third attempt");
    }
}

#[test]
fn what_must_not_get_into_the_eeprom_is_refused_and_not_staged() {
    let (upd, _, time) = update();
    let resign = |upd: &[u8]| Signature::of(upd, time).to_text();
    let with = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut upd = upd.clone();
        edit(&mut upd);
        upd
    };
    let text = |upd: &mut Vec<u8>, from: &str, to: &str| {
        let at = memchr_find(upd, from.as_bytes());
        upd[at..at + to.len()].copy_from_slice(to.as_bytes());
    };
    let good = || upd.clone();
    let cases: [(&str, Vec<u8>, Running); 9] = [
        (
            "secure boot",
            good(),
            Running {
                is_signed: true,
                ..factory()
            },
        ),
        (
            "asks for 4",
            good(),
            Running {
                least_version: 4,
                ..factory()
            },
        ),
        (
            "older than",
            good(),
            Running {
                build: Some(NEW + 1),
                ..factory()
            },
        ),
        (
            "does not say when",
            good(),
            Running {
                build: None,
                ..factory()
            },
        ),
        ("512", with(&|upd| upd.truncate(512)), factory()),
        ("for the bcm2711", vendor::eeprom_2711(), factory()),
        ("damaged", with(&|upd| upd[0x1000] = 0), factory()),
        (
            "NVMe disk first",
            with(&|upd| text(upd, "0xf416", "0xf461")),
            factory(),
        ),
        (
            "when it was built",
            with(&|upd| text(upd, "BUILD_TIME", "BUILT_TIME")),
            factory(),
        ),
    ];
    for (complaint, upd, running) in cases {
        let card = MemoryCard::new(&Power::on());
        let sig = resign(&upd);
        for (path, content) in
            EEPROM_FILES
                .into_iter()
                .zip([&upd[..], sig.as_bytes(), RECOVERY_BIN])
        {
            card.put_firmware(path, content);
        }
        let error = set_on(&card, &running).expect_err(complaint);
        assert_eq!(error.kind, Kind::NotPossible, "{error}");
        assert!(error.reason.contains(complaint), "{complaint}: {error}");
        assert_eq!(card.names().expect("names"), ["SHA256SUMS"], "{complaint}");
    }
    let card = card(&Power::on());
    card.put_firmware_again(EEPROM_FILES[1], resign(b"other bytes").as_bytes());
    let error = set_on(&card, &factory()).expect_err("another image's digest");
    assert!(error.reason.contains("not that of"), "{error}");
}

#[test]
fn an_older_image_is_taken_where_the_configuration_allows_it() {
    let policy = BootOrderPolicy {
        allow_older: true,
        ..BootOrderPolicy::default()
    };
    // Where the board's firmware does not say when it was built, any may be older.
    for build in [Some(NEW + 1), None] {
        let card = card(&Power::on());
        let running = Running { build, ..factory() };
        set_on(&card, &running).expect_err("an older one");
        assert_eq!(set_by(policy, &card, &running), Ok(BootOrder::Staged));
        let needs_more = Running {
            least_version: 4,
            ..running
        };
        set_by(policy, &card, &needs_more).expect_err("too old for the board's parts");
    }
}

#[test]
fn the_board_keeps_its_own_settings() {
    let card = card(&Power::on());
    let mut running = Running {
        config: Some(b"# K\xfcche\n[all]\nPSU_MAX_CURRENT=5000\nBOOT_ORDER=0xf41\n".to_vec()),
        ..factory()
    };
    let (outcome, changes) = set_and_tell(
        BootOrderPolicy::default(),
        &card,
        &running,
        Standing::Proven,
    );
    assert_eq!(outcome, Ok(BootOrder::Staged));
    assert_eq!(
        changes,
        [
            "BOOT_ORDER 0xf41 -> 0xf416".to_owned(),
            "PCIE_PROBE (not set) -> 1".to_owned(),
            "firmware built 2023-11-14 -> 2026-05-26".to_owned(),
        ]
    );
    rom(&card, &mut running);
    assert_eq!(
        running.config.as_deref(),
        Some(&b"# K\xfcche\n[all]\nPSU_MAX_CURRENT=5000\nBOOT_ORDER=0xf416\nPCIE_PROBE=1\n"[..])
    );
    assert_eq!(set_on(&card, &running), Ok(BootOrder::AlreadyRight));
}

/// Settings that nobody can read may be worth something.
#[test]
fn settings_that_are_not_shown_are_replaced_only_where_the_card_allows_it() {
    let hidden = Running {
        config: None,
        ..factory()
    };
    let card = card(&Power::on());
    card.put(RECOVERY, RECOVERY_BIN);
    let error = set_on(&card, &hidden).expect_err("settings that would be lost");
    assert_eq!(error.kind, Kind::NotPossible);
    assert!(
        error.next_step.contains("replace_settings"),
        "{}",
        error.next_step
    );
    assert_eq!(card.names().expect("names"), ["SHA256SUMS"]);
    let policy = BootOrderPolicy {
        replace_settings: true,
        ..BootOrderPolicy::default()
    };
    let (outcome, changes) = set_and_tell(policy, &card, &hidden, Standing::Proven);
    assert_eq!(outcome, Ok(BootOrder::Staged));
    assert!(changes[0].contains("all settings"), "{changes:?}");
    // What can be read is kept all the same.
    let shown = Running {
        config: Some(b"X=1\nBOOT_ORDER=0xf41\n".to_vec()),
        ..factory()
    };
    let (outcome, changes) = set_and_tell(policy, &card, &shown, Standing::Proven);
    assert_eq!(outcome, Ok(BootOrder::Staged));
    assert_eq!(changes[0], "BOOT_ORDER 0xf41 -> 0xf416");
    let staged = Image::parse(card.get(UPD).expect("an image")).expect("an image");
    assert!(staged.config().expect("one").starts_with(b"X=1\n"));
}

/// `raspi-config` leaves an order like this. A HAT+ needs no more.
#[test]
fn the_disk_first_is_right_without_pcie_probe() {
    let running = Running {
        config: Some("[all]\nBOOT_ORDER=0xf416\n".into()),
        // Newer than the card's: to replace it would be a fault.
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
    // It has all that this step can give it.
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
fn what_is_refused_does_not_stay_staged() {
    let card = card(&Power::on());
    assert_eq!(set_on(&card, &factory()), Ok(BootOrder::Staged));
    let other_board = Running {
        is_signed: true,
        ..factory()
    };
    set_on(&card, &other_board).expect_err("secure boot");
    assert_eq!(card.get(RECOVERY), None);
    assert_eq!(card.get(UPD), None);
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
fn settings_that_cannot_be_kept_are_not_lost() {
    for (config, complaint) in [
        ("x".repeat(5000) + "\nBOOT_ORDER=0xf41\n", "4072"),
        (
            "[0x12345678]\nBOOT_ORDER=0xf1\n[all]\nBOOT_ORDER=0xf41\n".to_owned(),
            "depends on the board",
        ),
    ] {
        let card = card(&Power::on());
        let before = card.names().expect("names");
        let running = Running {
            config: Some(config.into_bytes()),
            ..factory()
        };
        let error = set_on(&card, &running).expect_err(complaint);
        assert!(error.reason.contains(complaint), "{error}");
        assert_eq!(card.names().expect("names"), before);
    }
}

fn memchr_find(bytes: &[u8], text: &[u8]) -> usize {
    bytes
        .windows(text.len())
        .position(|window| window == text)
        .expect("the text is in the image")
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

#[test]
fn what_reads_back_wrong_is_not_left_for_the_rom() {
    for bad in [UPD, SIG, RECOVERY_BEFORE, RECOVERY] {
        let card = card(&Power::on());
        card.bad.set(Some(bad));
        let error = set_on(&card, &factory()).expect_err(bad);
        assert_eq!(error.kind, Kind::Failed);
        assert_eq!(card.get(RECOVERY), None, "{bad}");
    }
}

#[test]
fn a_write_protected_card_is_a_failure_and_leaves_the_eeprom_alone() {
    let card = card(&Power::on());
    card.is_read_only.set(true);
    let error = set_on(&card, &factory()).expect_err("no room");
    assert_eq!(error.kind, Kind::Failed);
}

#[test]
fn the_firmware_s_own_words_are_read_where_linux_has_them() {
    let root = tempfile::tempdir().expect("a directory");
    let put = |path: &str, content: &[u8]| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    };
    let read = || Running::read(&root.path().join("proc"), &root.path().join("sys"));
    assert_eq!(read(), Running::default());
    let chosen = "proc/device-tree/chosen";
    put(
        &format!("{chosen}/bootloader/build-timestamp"),
        &OLD.to_be_bytes(),
    );
    put(
        &format!("{chosen}/bootloader/update-timestamp"),
        &NEW.to_be_bytes(),
    );
    put("proc/sys/kernel/random/boot_id", b"6ee9\n");
    put(&format!("{chosen}/bootloader/signed"), &1_u32.to_be_bytes());
    put(&format!("{chosen}/rpi-min-boot-ver"), &5_u32.to_be_bytes());
    let devices = "sys/bus/nvmem/devices";
    put(
        &format!("{devices}/rmem0/of_node/compatible"),
        b"raspberrypi,bootloader-public-key\0nvmem-rmem\0",
    );
    put(&format!("{devices}/rmem0/nvmem"), b"another one's");
    put(
        &format!("{devices}/rmem1/of_node/compatible"),
        b"raspberrypi,bootloader-config\0nvmem-rmem\0",
    );
    put(
        &format!("{devices}/rmem1/nvmem"),
        &[FACTORY.as_bytes(), &[0; 100]].concat(),
    );
    assert_eq!(
        read(),
        Running {
            build: Some(OLD),
            update: Some(NEW),
            is_signed: true,
            least_version: 5,
            config: Some(FACTORY.into()),
            start: Some("6ee9".to_owned()),
        }
    );
    // Bytes that are not text are the board's settings too; only what fills up the memory is not.
    let umlaut = b"# \xff K\xfcche\nBOOT_ORDER=0xf41\n";
    for fill in [0, 0xff] {
        let memory = [&umlaut[..], &[fill; 50]].concat();
        put(&format!("{devices}/rmem1/nvmem"), &memory);
        assert_eq!(read().config.as_deref(), Some(&umlaut[..]), "{fill:#x}");
    }
    // Memory that the firmware has not filled.
    for nothing in [&[0; 4096], &[0xff; 4096], &[b' '; 4096]] {
        put(&format!("{devices}/rmem1/nvmem"), nothing);
        assert_eq!(read().config, None);
    }
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
    // A board that could not start the disk otherwise: the question alone changes nothing.
    let old = Running {
        build: Some(1_736_812_799),
        ..factory()
    };
    assert_eq!(ask(&old, Standing::Planned), (Kind::Waits, None));
}
