//! Facts about what may get into the EEPROM, and which of its settings stay.

use super::*;

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
    // If the board's firmware does not say when it was built, any update may be older.
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

/// Settings that nobody can read may still be important.
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
    // What can be read is kept in any case.
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

fn memchr_find(bytes: &[u8], text: &[u8]) -> usize {
    bytes
        .windows(text.len())
        .position(|window| window == text)
        .expect("the text is in the image")
}
