//! Facts about an update on its way onto the card: cuts, counted attempts, cards that fail.

use super::*;

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
        // These attempts end in different ways. Only the content of the card matters.
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
fn two_fruitless_attempts_are_enough() {
    let card = card(&Power::on());
    let mut running = factory();
    for _ in 0..2 {
        assert_eq!(set_on(&card, &running), Ok(BootOrder::Staged));
        // The ROM does not find the file.
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

/// The count is written before the rename for which the ROM waits.
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

/// The node looks again each minute, and a card wears.
#[test]
fn an_update_that_waits_for_its_restart_is_not_written_again() {
    let card = card(&Power::on());
    assert_eq!(set_on(&card, &factory()), Ok(BootOrder::Staged));
    card.is_read_only.set(true);
    assert_eq!(set_on(&card, &factory()), Ok(BootOrder::Staged));
}

/// It is an operator's, or of a cut before anything was counted.
#[test]
fn a_file_that_nothing_has_counted_gives_no_attempt_more() {
    let card = card(&Power::on());
    card.put(RECOVERY_BEFORE, RECOVERY_BIN);
    assert_eq!(set_on(&card, &factory()), Ok(BootOrder::Staged));
    let count = card.text("gild-d83add123456.eeprom").expect("a count");
    assert!(count.contains("attempts=1\n"), "{count}");
}

/// The ROM tries only at a restart. A node that holds and looks again each minute has not tried anything.
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
        // A file that is missing, or that is not the staged one, is staged again. That is still the same attempt.
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
    // Either an earlier agent has counted, or the kernel does not say which start this is.
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
