//! Facts about receipts: what they say, and which of two stays on the card.

use std::time::Duration;

use gild_disk::select::Candidate;

use gild_faults::Fault;
use serde_json::{Value, json};

use super::content::{Receipt, make, peak_rss};
use super::keep::keeps;
use super::text::text;
use crate::boot_order::{BootOrder, BootOrderError, Kind};
use crate::discards::Discard;
use crate::failure::{Failure, Remedy};
use crate::led::Led;
use crate::machine::Machine;
use crate::node::Node;

fn node() -> Node {
    Node {
        board: gild_boards::by_name("rpi5"),
        image_id: Some("image-1".to_owned()),
        target: Some(Candidate {
            path: "/dev/nvme0n1".into(),
            model: "Disk".to_owned(),
            serial: "S1".to_owned(),
            size: 1 << 30,
            sector_size: 512,
        }),
        ..Node::default()
    }
}

/// The same of a disk that was written.
fn flashed_as(mut receipt: Receipt) -> Receipt {
    receipt.report.outcome = Some("flashed".to_owned());
    receipt
}

#[test]
fn a_fault_says_what_was_done_to_what_and_what_to_do() {
    let machine = Machine::new(Led::start(), Duration::from_secs(1));
    let failure = Failure {
        fault: Fault::NoTarget,
        message: "no NVMe disk was found".to_owned(),
        next_step: Fault::NoTarget.next_step().into(),
        remedy: Remedy::LookAgain,
    };
    let receipt = make(&machine, &node(), Some(&failure), true);
    let json = serde_json::to_value(&receipt).expect("JSON");
    assert_eq!(json["outcome"], "fault");
    assert_eq!(json["fault"], 5);
    assert_eq!(json["board"], "rpi5");
    assert_eq!(json["kind"], "receipt");
    assert_eq!(json["stage"], "takeover");
    assert_eq!(json["held"], true);
    assert_eq!(json["next_step"], Fault::NoTarget.next_step());
    let boot = json["boot"].as_str().expect("a start of the board");
    assert!(boot.len() == 16 && boot.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(json["seconds"]["takeover"].is_number());
    assert!(
        json["bytes_written"].is_null(),
        "nobody knows what was written"
    );
    let text = text(&receipt, Some(&failure), "target");
    for part in [
        "FAULT 5",
        "While:  target",
        "no NVMe disk was found",
        Fault::NoTarget.next_step(),
        "/dev/nvme0n1 (Disk, serial S1, 1073741824 bytes)",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn nothing_written_is_told_as_such() {
    let machine = Machine::new(Led::start(), Duration::from_secs(1));
    let receipt = make(&machine, &node(), None, false);
    assert_eq!(receipt.report.outcome.as_deref(), Some("already-done"));
    assert_eq!(receipt.bytes_written, Some(0));
    assert!(text(&receipt, None, "receipt").contains("nothing was written"));
}

#[test]
fn a_disk_that_was_written_without_a_discard_may_have_a_former_owner_s_data() {
    let machine = Machine::new(Led::start(), Duration::from_secs(1));
    for (discard, is_left_out) in [(Discard::Asked, false), (Discard::LeftOut, true)] {
        let node = Node { discard, ..node() };
        let receipt = make(&machine, &node, None, false);
        let json = serde_json::to_value(&receipt).expect("JSON");
        assert_eq!(json["discard_left_out"], is_left_out);
        let text = text(&receipt, None, "receipt");
        assert_eq!(
            text.contains("data of a former owner"),
            is_left_out,
            "{text}"
        );
    }
}

/// A fault that the LED does not show must not be in a report either, because a rolling order stops at the first fault.
#[test]
fn a_boot_order_that_stayed_is_said_beside_the_good_disk_and_is_a_fault_if_nobody_expects_it() {
    let machine = Machine::new(Led::start(), Duration::from_secs(1));
    let left = |kind| BootOrderError {
        kind,
        reason: "no files".to_owned(),
        next_step: "leave the card in",
    };
    for (kind, fault) in [(Kind::Known, json!(null)), (Kind::NotPossible, json!(8))] {
        let node = Node {
            boot_order: Some(BootOrder::Left(left(kind))),
            ..node()
        };
        let receipt = make(&machine, &node, None, false);
        let json = serde_json::to_value(&receipt).expect("JSON");
        assert_eq!(json["outcome"], "already-done");
        assert_eq!(json["fault"], fault);
        assert_eq!(json["boot_order"], "not-possible: no files");
        assert_eq!(json["message"], "no files");
        let text = text(&receipt, None, "receipt");
        for part in [
            "nothing was written",
            "leave the card in",
            "its disk is good",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert_eq!(text.contains("FAULT 8"), kind == Kind::NotPossible);
    }
}

#[test]
fn news_of_the_boot_order_replace_the_receipt_of_the_flash() {
    let machine = Machine::new(Led::start(), Duration::from_secs(1));
    let with = |boot_order| {
        let node = Node {
            boot_order: Some(boot_order),
            ..node()
        };
        make(&machine, &node, None, false)
    };
    let left = |reason: &str| {
        BootOrder::Left(BootOrderError {
            kind: Kind::NotPossible,
            reason: reason.to_owned(),
            next_step: "",
        })
    };
    let flashed = |boot_order| {
        let receipt = flashed_as(with(boot_order));
        serde_json::to_string(&receipt).expect("JSON")
    };
    assert!(keeps(&flashed(left("a")), &with(left("a"))));
    assert!(keeps(
        &flashed(BootOrder::Staged),
        &with(BootOrder::AlreadyRight)
    ));
    assert!(!keeps(&flashed(BootOrder::Staged), &with(left("a"))));
    assert!(!keeps(&flashed(left("a")), &with(left("b"))));
    assert!(!keeps(&flashed(left("a")), &with(BootOrder::AlreadyRight)));
}

#[test]
fn what_is_changed_on_the_board_is_reported_and_is_news() {
    let machine = Machine::new(Led::start(), Duration::from_secs(1));
    let with = |changes: &[&str]| {
        let node = Node {
            boot_order: Some(BootOrder::Staged),
            boot_order_changes: changes.iter().map(|change| (*change).to_owned()).collect(),
            ..node()
        };
        make(&machine, &node, None, false)
    };
    let change = "BOOT_ORDER 0xf461 -> 0xf416";
    let changed = with(&[change]);
    let json = serde_json::to_value(&changed).expect("JSON");
    assert_eq!(json["boot_order_changes"], Value::from(vec![change]));
    assert!(text(&changed, None, "receipt").contains(change));
    let flashed = |changes: &[&str]| {
        let receipt = flashed_as(with(changes));
        serde_json::to_string(&receipt).expect("JSON")
    };
    assert!(!keeps(&flashed(&[]), &changed));
    assert!(keeps(&flashed(&[change]), &changed));
    assert!(keeps(&flashed(&[change]), &with(&[])));
}

#[test]
fn the_receipt_of_the_flash_stays_when_the_disk_is_found_done() {
    let machine = Machine::new(Led::start(), Duration::from_secs(1));
    let done = make(&machine, &node(), None, false);
    let flashed = r#"{"outcome":"flashed","image_id":"image-1","target":{"serial":"S1"}}"#;
    assert!(keeps(flashed, &done));
    for other in [
        "",
        "half a fi",
        &flashed.replace("flashed", "fault"),
        &flashed.replace("image-1", "image-0"),
        &flashed.replace("S1", "S2"),
    ] {
        assert!(!keeps(other, &done), "{other}");
    }
    assert!(!keeps(flashed, &flashed_as(done)));
}

#[test]
fn the_peak_of_memory_is_read_from_the_kernel_s_words() {
    assert_eq!(
        peak_rss("Name:\tgild\nVmPeak:\t  9 kB\nVmHWM:\t   12345 kB\n"),
        Some(12_345 * 1024)
    );
    assert_eq!(peak_rss("Name:\tgild\n"), None);
}
