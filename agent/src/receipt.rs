//! Step 11, receipt: what happened to this node, on the card, on the console and at the status URL.

use std::collections::BTreeMap;
use std::fs;

use gild_faults::Fault;
use gild_flash::Outcome;
use log::{info, warn};
use serde::Serialize;
use serde_json::Value;

use crate::boot_order::BootOrder;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::node::Node;
use crate::{board, http};

/// What happened to one node.
#[derive(Clone, Debug, Serialize)]
struct Receipt {
    board: Option<String>,
    mac: Option<String>,
    serial: Option<String>,
    image_id: Option<String>,
    /// `flashed`, `already-done` or `fault`.
    outcome: &'static str,
    fault: Option<u8>,
    message: Option<String>,
    /// `already-right`, `staged`, `written`, or why it is as it was; unknown if the story did not get that far.
    boot_order: Option<String>,
    /// What is changed on the board with that: settings by their old and new values.
    boot_order_changes: Vec<String>,
    /// What the operator does about it.
    #[serde(skip)]
    boot_order_next_step: Option<&'static str>,
    /// What was done to the disk; unknown after a fault, which may come before the first byte or after the last.
    bytes_fetched: Option<u64>,
    bytes_written: Option<u64>,
    bytes_read_back: Option<u64>,
    bytes_zeroed: Option<u64>,
    chunks: Option<usize>,
    chunks_fetched: Option<u64>,
    chunks_kept: Option<usize>,
    /// By stage.
    seconds: BTreeMap<&'static str, f64>,
    target: Option<Disk>,
    agent_version: &'static str,
    peak_rss_bytes: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
struct Disk {
    device: String,
    model: String,
    serial: String,
    size: u64,
}

/// Tells what happened, everywhere. What cannot be told in one place is told in the others.
pub fn tell(machine: &Machine, node: &Node, failure: Option<&Failure>) {
    let receipt = receipt(machine, node, failure);
    let json = serde_json::to_string(&receipt).unwrap_or_else(|error| {
        warn!("the receipt cannot be written as JSON: {error}");
        String::new()
    });
    info!("receipt {json}");
    if let Some(card) = &node.card {
        let name = format!("gild-{}", node.id());
        let files = [
            (
                format!("{name}.txt"),
                text(&receipt, failure, machine.stage().name()),
            ),
            (format!("{name}.json"), format!("{json}\n")),
        ];
        if keeps(&card.read(&files[1].0).unwrap_or_default(), &receipt) {
            info!("the receipt of the flash stays on the card");
        } else if let Err(error) = card.write(&files) {
            warn!("the receipt is not on the card: {error}");
        }
    }
    if let (Some(url), Some(_)) = (&node.status_url, &node.network)
        && let Err(error) = http::post_json(url, json)
    {
        warn!("the receipt did not reach the status URL: {error}");
    }
}

/// Whether the receipt on the card says more than this one: how the disk came by the image that it is found to carry.
/// A card left in a board that boots from it first would else lose that at the next start. News of the boot order count
/// for more.
fn keeps(on_card: &str, new: &Receipt) -> bool {
    let Ok(old) = serde_json::from_str::<Value>(on_card) else {
        return false;
    };
    let is_news = old["fault"].as_u64() != new.fault.map(u64::from)
        || (new.fault.is_some() && old["boot_order"].as_str() != new.boot_order.as_deref())
        || (!new.boot_order_changes.is_empty()
            && old["boot_order_changes"] != Value::from(new.boot_order_changes.clone()));
    new.outcome == "already-done"
        && !is_news
        && old["outcome"] == "flashed"
        && old["image_id"].as_str() == new.image_id.as_deref()
        && old["target"]["serial"].as_str() == new.target.as_ref().map(|disk| disk.serial.as_str())
}

fn receipt(machine: &Machine, node: &Node, failure: Option<&Failure>) -> Receipt {
    let report = node.report.as_ref();
    let untouched = failure.is_none();
    let left = node.boot_order.as_ref().and_then(BootOrder::trouble);
    Receipt {
        board: node.board.map(|board| board.name.clone()),
        mac: node.mac().map(|mac| mac.to_string()),
        serial: board::serial(),
        image_id: node.image_id.clone(),
        outcome: match (failure, report.map(|report| report.outcome)) {
            (Some(_), _) => "fault",
            (None, Some(Outcome::Flashed)) => "flashed",
            (None, Some(Outcome::AlreadyDone) | None) => "already-done",
        },
        fault: failure
            .map(|failure| failure.fault)
            .or(left.map(|_| Fault::BootOrder))
            .map(Fault::number),
        message: failure
            .map(|failure| failure.message.clone())
            .or(left.map(|left| left.reason.clone())),
        boot_order: node.boot_order.as_ref().map(BootOrder::to_string),
        boot_order_changes: node.boot_order_changes.clone(),
        boot_order_next_step: left.map(|left| left.next_step),
        bytes_fetched: report
            .map(|report| report.bytes_fetched)
            .or(untouched.then_some(0)),
        bytes_written: report
            .map(|report| report.bytes_written)
            .or(untouched.then_some(0)),
        bytes_read_back: report
            .map(|report| report.bytes_read_back)
            .or(untouched.then_some(0)),
        bytes_zeroed: report
            .map(|report| report.bytes_zeroed)
            .or(untouched.then_some(0)),
        chunks: report
            .map(|report| report.chunks)
            .or(untouched.then_some(0)),
        chunks_fetched: report
            .map(|report| report.chunks_fetched)
            .or(untouched.then_some(0)),
        chunks_kept: report
            .map(|report| report.chunks_kept)
            .or(untouched.then_some(0)),
        seconds: machine
            .stages()
            .into_iter()
            .map(|(stage, time)| (stage.name(), (time.as_secs_f64() * 1000.0).round() / 1000.0))
            .collect(),
        target: node.target.as_ref().map(|target| Disk {
            device: target.path.display().to_string(),
            model: target.model.clone(),
            serial: target.serial.clone(),
            size: target.size,
        }),
        agent_version: env!("CARGO_PKG_VERSION"),
        peak_rss_bytes: peak_rss(&fs::read_to_string("/proc/self/status").unwrap_or_default()),
    }
}

/// The most memory this process ever held, from `/proc/self/status`.
fn peak_rss(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The outcome for a person who reads the card on a laptop.
fn text(receipt: &Receipt, failure: Option<&Failure>, stage: &str) -> String {
    let or_unknown = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let disk = receipt.target.as_ref().map_or_else(
        || "not chosen yet".to_owned(),
        |disk| {
            format!(
                "{} ({}, serial {}, {} bytes)",
                disk.device, disk.model, disk.serial, disk.size
            )
        },
    );
    let outcome = match failure {
        Some(failure) => format!(
            "FAULT {}: {}\nWhile:  {}\nWhat:   {}\nDo:     {}\n\
             The node looks again by itself: nobody has to touch it once the cause is fixed.\n",
            failure.fault.number(),
            failure.fault.meaning(),
            stage,
            failure.message,
            failure.next_step,
        ),
        None if receipt.outcome == "flashed" => {
            "The disk was written, verified and committed.\n".to_owned()
        }
        None => "The disk carried the image already; nothing was written.\n".to_owned(),
    };
    let boot_order = match (failure, receipt.boot_order_next_step) {
        (None, Some(next_step)) => format!(
            "\nFAULT {}: {}\nWhat:   {}\nDo:     {next_step}\n\
             The node was restarted all the same, for its disk is good.\n",
            Fault::BootOrder.number(),
            Fault::BootOrder.meaning(),
            or_unknown(&receipt.message),
        ),
        _ => String::new(),
    };
    let changes = receipt.boot_order_changes.iter();
    let changes: String = changes
        .flat_map(|change| ["        ", change, "\n"])
        .collect();
    format!(
        "gild {}: the last outcome of one node\n\n{outcome}{boot_order}\nBoard:  {}, serial {}\nMAC:    {}\nImage:  {}\nDisk:   {disk}\n\
         Boot:   {}\n{changes}",
        receipt.agent_version,
        or_unknown(&receipt.board),
        or_unknown(&receipt.serial),
        or_unknown(&receipt.mac),
        or_unknown(&receipt.image_id),
        receipt.boot_order.as_deref().unwrap_or("not reached"),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gild_disk::select::Candidate;

    use super::*;
    use crate::boot_order::{BootOrderError, Kind};
    use crate::failure::Remedy;
    use crate::led::Led;

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

    #[test]
    fn a_fault_says_what_was_done_to_what_and_what_to_do() {
        let machine = Machine::new(Led::start(), Duration::from_secs(1));
        let failure = Failure {
            fault: Fault::NoTarget,
            message: "no NVMe disk was found".to_owned(),
            next_step: Fault::NoTarget.next_step(),
            remedy: Remedy::LookAgain,
        };
        let receipt = receipt(&machine, &node(), Some(&failure));
        let json = serde_json::to_value(&receipt).expect("JSON");
        assert_eq!(json["outcome"], "fault");
        assert_eq!(json["fault"], 5);
        assert_eq!(json["board"], "rpi5");
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
        let receipt = receipt(&machine, &node(), None);
        assert_eq!(receipt.outcome, "already-done");
        assert_eq!(receipt.bytes_written, Some(0));
        assert!(text(&receipt, None, "receipt").contains("nothing was written"));
    }

    #[test]
    fn a_boot_order_that_stayed_is_told_beside_the_good_disk() {
        let machine = Machine::new(Led::start(), Duration::from_secs(1));
        let left = BootOrderError {
            kind: Kind::Known,
            reason: "no files".to_owned(),
            next_step: "leave the card in",
        };
        let node = Node {
            boot_order: Some(BootOrder::Left(left)),
            ..node()
        };
        let receipt = receipt(&machine, &node, None);
        let json = serde_json::to_value(&receipt).expect("JSON");
        assert_eq!(json["outcome"], "already-done");
        assert_eq!(json["fault"], 8);
        assert_eq!(json["boot_order"], "not-possible: no files");
        let text = text(&receipt, None, "receipt");
        for part in [
            "nothing was written",
            "FAULT 8",
            "leave the card in",
            "its disk is good",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
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
            receipt(&machine, &node, None)
        };
        let left = |reason: &str| {
            BootOrder::Left(BootOrderError {
                kind: Kind::NotPossible,
                reason: reason.to_owned(),
                next_step: "",
            })
        };
        let flashed = |boot_order| {
            let receipt = Receipt {
                outcome: "flashed",
                ..with(boot_order)
            };
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
            receipt(&machine, &node, None)
        };
        let change = "BOOT_ORDER 0xf461 -> 0xf416";
        let changed = with(&[change]);
        let json = serde_json::to_value(&changed).expect("JSON");
        assert_eq!(json["boot_order_changes"], Value::from(vec![change]));
        assert!(text(&changed, None, "receipt").contains(change));
        let flashed = |changes: &[&str]| {
            let receipt = Receipt {
                outcome: "flashed",
                ..with(changes)
            };
            serde_json::to_string(&receipt).expect("JSON")
        };
        assert!(!keeps(&flashed(&[]), &changed));
        assert!(keeps(&flashed(&[change]), &changed));
        assert!(keeps(&flashed(&[change]), &with(&[])));
    }

    #[test]
    fn the_receipt_of_the_flash_stays_when_the_disk_is_found_done() {
        let machine = Machine::new(Led::start(), Duration::from_secs(1));
        let done = receipt(&machine, &node(), None);
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
        let news = Receipt {
            outcome: "flashed",
            ..done
        };
        assert!(!keeps(flashed, &news));
    }

    #[test]
    fn the_peak_of_memory_is_read_from_the_kernel_s_words() {
        assert_eq!(
            peak_rss("Name:\tgild\nVmPeak:\t  9 kB\nVmHWM:\t   12345 kB\n"),
            Some(12_345 * 1024)
        );
        assert_eq!(peak_rss("Name:\tgild\n"), None);
    }
}
