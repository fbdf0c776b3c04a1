//! The desk against somebody who sends without end, or who has the key of the cards and invents boards. Real: the folder, the journal, the
//! groups. There is no network.

#![allow(dead_code, reason = "the other tests use the rest")]

#[path = "common/mod.rs"]
mod common;

use std::fs;

use common::{MAC, OTHER, folder, of_node, open, progress, proof_of, signed, unsigned};
use gild_boards::mac::Mac;
use gild_desk::desk::{Desk, ReportError};
use gild_desk::rack::Door;
use gild_report::{Finding, Report};

const NUMBER: &str = "10000000abcd0001";
const MOST_KNOWN: u32 = 1024;

fn invented(number: u32) -> Mac {
    let [a, b, c, d] = number.to_be_bytes();
    Mac([2, 0, a, b, c, d])
}

/// A report of the flasher on this board, which is writing the disk. It names `others` as the board's further addresses.
fn flash(mac: Mac, boot: &str, serial: Option<&str>, others: &[Mac]) -> Report {
    Report {
        mac: Some(mac.to_string()),
        serial: serial.map(str::to_owned),
        other_macs: others.iter().map(Mac::to_string).collect(),
        ..progress(boot, 1, "flash")
    }
}

fn door(desk: &Desk, mac: Mac) -> Door {
    desk.look(|rack| rack.node(mac).map(|node| node.door).unwrap_or_default())
}

fn is_closed(desk: &Desk, mac: Mac) -> bool {
    door(desk, mac).is_closed_by_operator()
}

fn boards(desk: &Desk) -> usize {
    desk.look(|rack| rack.nodes().count())
}

/// The flasher used one network card at first and then another, and the operator knew the board by a third.
#[test]
fn a_board_with_three_network_cards_is_one_board() {
    let folder = folder();
    let desk = open(folder.path());
    let [usb, second] = [invented(1), invented(2)];
    desk.decide(second, true).expect("kept");
    signed(&desk, &flash(MAC, "a", Some(NUMBER), &[])).expect("taken");
    let proof = proof_of(MAC);
    unsigned(&desk, &of_node("n", 1, "joined"), Some(&proof)).expect("taken");
    for (boot, mac, others) in [
        ("b", usb, [MAC, second]),
        ("c", MAC, [second, usb]),
        ("d", second, [usb, MAC]),
    ] {
        signed(&desk, &flash(mac, boot, Some(NUMBER), &others)).expect("taken");
        assert_eq!(boards(&desk), 1, "{boot}");
        for mac in [MAC, usb, second] {
            assert!(
                matches!(door(&desk, mac), Door::Open { .. }),
                "{boot} {mac}"
            );
        }
    }
}

#[test]
fn no_report_makes_boards_vanish_in_another_one() {
    let folder = folder();
    let desk = open(folder.path());
    let [with_number, member] = [MAC, OTHER];
    signed(&desk, &flash(with_number, "a", Some(NUMBER), &[])).expect("taken");
    desk.decide(member, true).expect("kept");
    let joined = Report {
        mac: Some(member.to_string()),
        ..of_node("n", 1, "joined")
    };
    unsigned(&desk, &joined, Some(&proof_of(member))).expect("taken");
    let before = [door(&desk, with_number), door(&desk, member)];
    let forged = invented(1);
    // The second report of each pair claims that the first board now has another serial number.
    for (boot, serial) in [("a", None), ("b", Some("evil"))] {
        signed(&desk, &flash(with_number, boot, serial, &[])).ok();
        let report = flash(forged, boot, serial, &[with_number, member]);
        signed(&desk, &report).expect("taken");
        // The forged board drops the addresses that it had claimed.
        let report = flash(forged, &format!("{boot}2"), serial, &[]);
        signed(&desk, &report).expect("taken");
    }
    assert_eq!(boards(&desk), 3);
    assert!(matches!(before[0], Door::Open { .. }) && matches!(before[1], Door::Joined { .. }));
    assert_eq!(door(&desk, member), before[1]);
    desk.look(|rack| {
        let node = rack.node(with_number).expect("a board");
        assert_eq!(node.serial.as_deref(), Some(NUMBER));
    });
}

#[test]
fn a_report_names_eight_addresses_at_most() {
    let folder = folder();
    let desk = open(folder.path());
    let many: Vec<_> = (1..=100).map(invented).collect();
    for mac in &many {
        desk.decide(*mac, true).expect("kept");
    }
    signed(&desk, &flash(MAC, "a", Some(NUMBER), &many)).expect("taken");
    assert_eq!(boards(&desk), 100 - 7 + 1);
    desk.look(|rack| assert_eq!(rack.node(MAC).expect("it").other_macs.len(), 7));
}

/// It must not work in two steps either: first a board takes the address over, then it drops it.
#[test]
fn no_report_opens_a_door_that_the_operator_has_closed() {
    // In one case the address is closed before any report. In the other the board had two addresses when it was closed.
    for has_second in [false, true] {
        let folder = folder();
        let desk = open(folder.path());
        if has_second {
            signed(&desk, &flash(OTHER, "a", None, &[MAC])).expect("taken");
        }
        desk.decide(MAC, false).expect("kept");
        let [low, high] = [Mac([2, 0, 0, 0, 0, 1]), Mac([0xfe, 0, 0, 0, 0, 1])];
        let mut start = 0;
        for others in [&[MAC, OTHER][..], &[MAC], &[OTHER], &[]] {
            for mac in [low, high, MAC, OTHER] {
                start += 1;
                let report = flash(mac, &format!("f{start}"), None, others);
                signed(&desk, &report).expect("taken");
                assert!(is_closed(&desk, MAC), "{has_second} {mac} {others:?}");
                assert!(!has_second || is_closed(&desk, OTHER), "{mac} {others:?}");
            }
        }
        drop(desk);
        let desk = open(folder.path());
        assert!(is_closed(&desk, MAC), "it was started again");
        desk.decide(MAC, true).expect("kept");
        assert!(matches!(door(&desk, MAC), Door::Open { .. }));
    }
}

/// The operator knows the board by one address, its card by another.
#[test]
fn a_board_of_which_one_address_is_closed_opens_no_door() {
    let folder = folder();
    let desk = open(folder.path());
    desk.decide(OTHER, false).expect("kept");
    signed(&desk, &flash(MAC, "a", Some(NUMBER), &[OTHER])).expect("taken");
    assert_eq!(door(&desk, MAC), Door::NeverOpened);
    assert!(is_closed(&desk, OTHER));
    desk.decide(OTHER, true).expect("kept");
    signed(&desk, &flash(MAC, "b", Some(NUMBER), &[OTHER])).expect("taken");
    assert_eq!(boards(&desk), 1);
    assert!(matches!(door(&desk, MAC), Door::Open { .. }));
}

/// Anyone who has the key of the cards can invent boards.
#[test]
fn known_boards_are_bounded_and_work_on_at_the_bound() {
    let folder = folder();
    let desk = open(folder.path());
    signed(&desk, &flash(MAC, "a", Some(NUMBER), &[])).expect("taken");
    // The test writes the journal directly, because that is quicker than sending reports and has the same effect.
    drop(desk);
    let journal = folder.path().join("journal/journal.jsonl");
    let line = fs::read_to_string(&journal).expect("a journal");
    let lines = (1..MOST_KNOWN).map(|number| {
        let mac = invented(number).to_string();
        line.replace(&MAC.to_string(), &mac)
    });
    fs::write(&journal, line.clone() + &lines.collect::<String>()).expect("written");
    let desk = open(folder.path());
    assert_eq!(desk.look(gild_desk::rack::Rack::known), 1024);
    let one_more = flash(invented(5000), "a", None, &[]);
    let refused = signed(&desk, &one_more).expect_err("full");
    assert!(matches!(refused, ReportError::Full));
    assert!(refused.to_string().contains("; next: "), "{refused}");
    // It makes no difference whether the board was unknown or a stranger.
    unsigned(&desk, &one_more, None).expect("shown");
    assert!(signed(&desk, &one_more).is_err());
    signed(&desk, &flash(MAC, "b", Some(NUMBER), &[])).expect("a board that is known");
    let grouped = flash(OTHER, "a", None, &[]);
    signed(&desk, &grouped).expect("a board of which a group speaks");
    // A group that matches every board does not make room for any.
    fs::write(folder.path().join("groups/all.json"), "{}").expect("written");
    drop(desk);
    let desk = open(folder.path());
    assert!(signed(&desk, &one_more).is_err());
}

/// One board sends a different report each time, as long as a report may be.
#[test]
fn the_journal_is_bounded_whatever_is_sent() {
    let folder = folder();
    let desk = open(folder.path());
    let finding = Finding {
        message: "x".repeat(250),
        ..Finding::default()
    };
    let mut longest = 0;
    let path = folder.path().join("journal/journal.jsonl");
    for number in 0..2200_u64 {
        let report = Report {
            message: Some(format!("{number} {}", "\"".repeat(5_000))),
            hardware: vec![finding.clone(); 200],
            sequence: number,
            ..flash(MAC, "a", Some(NUMBER), &[])
        };
        signed(&desk, &report).expect("taken");
        longest = longest.max(fs::metadata(&path).expect("a journal").len());
    }
    // The journal is shortened once it has grown by 8 MiB.
    assert!((8 << 20..9 << 20).contains(&longest), "{longest}");
}
