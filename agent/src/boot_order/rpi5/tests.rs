use gild_boards::rpi_eeprom::{get_key, set_keys};
use gild_config::BootOrderPolicy;

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
    let config = set_keys(FACTORY, &keys).expect("keys");
    image
        .set_config(config.as_bytes())
        .expect("a configuration");
    let upd = image.bytes().to_vec();
    let sig = Signature::of(&upd, NEW + 7);
    (upd, sig.to_text(), NEW + 7)
}

fn card(power: &Power) -> MemoryCard {
    let card = MemoryCard::new(power);
    let (upd, sig, _) = update();
    for (path, content) in FILES
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
        config: Some(FACTORY.to_owned()),
    }
}

fn set_on(card: &MemoryCard, running: &Running) -> Result<BootOrder, BootOrderError> {
    set_by(BootOrderPolicy::default(), card, running)
}

fn set_by(
    policy: BootOrderPolicy,
    card: &MemoryCard,
    running: &Running,
) -> Result<BootOrder, BootOrderError> {
    let job = Job {
        board: gild_boards::by_name("rpi5").expect("a board"),
        id: "d83add123456".to_owned(),
        card,
        policy,
        is_boot_medium: true,
        alive: &|| (),
    };
    set(&job, running)
}

/// What the board's ROM does at a restart, as the vendor documents it: nothing without `recovery.bin`, else it checks
/// the digest, writes the EEPROM and renames the file.
fn rom(card: &MemoryCard, running: &mut Running) {
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
        config: Some(String::from_utf8(image.config().expect("one").to_vec()).expect("text")),
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
    assert_eq!(get_key(&config, "BOOT_ORDER"), Some("0xf416"));
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
        config: Some("[all]\nBOOT_ORDER=0xf16\n".to_owned()),
        is_signed: true,
        ..factory()
    };
    assert_eq!(set_on(&card, &running), Ok(BootOrder::AlreadyRight));
}

#[test]
fn two_fruitless_attempts_are_enough() {
    let card = card(&Power::on());
    let running = factory();
    for _ in 0..2 {
        // A ROM that does not find the file.
        assert_eq!(set_on(&card, &running), Ok(BootOrder::Staged));
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
        for (path, content) in FILES
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
    card.put_firmware_again(FILES[1], resign(b"other bytes").as_bytes());
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
        config: Some("# mine\n[all]\nPSU_MAX_CURRENT=5000\nBOOT_ORDER=0xf41\n".to_owned()),
        ..factory()
    };
    assert_eq!(set_on(&card, &running), Ok(BootOrder::Staged));
    rom(&card, &mut running);
    assert_eq!(
        running.config.as_deref(),
        Some("# mine\n[all]\nPSU_MAX_CURRENT=5000\nBOOT_ORDER=0xf416\nPCIE_PROBE=1\n")
    );
    assert_eq!(set_on(&card, &running), Ok(BootOrder::AlreadyRight));
}

#[test]
fn an_order_that_is_only_half_right_is_put_right() {
    let running = Running {
        config: Some("[all]\nBOOT_ORDER=0xf416\n".to_owned()),
        ..factory()
    };
    let with_files = card(&Power::on());
    assert_eq!(set_on(&with_files, &running), Ok(BootOrder::Staged));
    // Without the card behind the disk, one that is to be flashed again would never be.
    let disk_alone = Running {
        config: Some("[all]\nBOOT_ORDER=0xf6\nPCIE_PROBE=1\n".to_owned()),
        ..factory()
    };
    let with_files = card(&Power::on());
    assert_eq!(set_on(&with_files, &disk_alone), Ok(BootOrder::Staged));
    let without = MemoryCard::new(&Power::on());
    assert_eq!(set_on(&without, &running), Ok(BootOrder::AlreadyRight));
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
        is_boot_medium: false,
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
            config: Some(config),
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
            config: Some(FACTORY.to_owned()),
        }
    );
    // Memory that the firmware has not filled.
    put(&format!("{devices}/rmem1/nvmem"), &[0; 4096]);
    assert_eq!(read().config, None);
}
