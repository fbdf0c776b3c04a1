//! Step 11, receipt: what happened to this node, on the card, on the console and at the status URL.

use std::collections::BTreeMap;
use std::fs;

use gild_flash::Outcome;
use log::{info, warn};
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::mac::Mac;
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
    machine.alive();
    if let Some(card) = &node.card {
        let name = format!(
            "gild-{}",
            node.mac().map_or_else(|| "unknown".to_owned(), Mac::digits)
        );
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
    machine.alive();
    if let (Some(url), Some(_)) = (&node.status_url, &node.network)
        && let Err(error) = http::post_json(url, json)
    {
        warn!("the receipt did not reach the status URL: {error}");
    }
    machine.alive();
}

/// Whether the receipt on the card says more than this one: how the disk came by the image that it is found to carry.
/// A card left in a board that boots from it first would else lose that at the next start.
fn keeps(on_card: &str, new: &Receipt) -> bool {
    let Ok(old) = serde_json::from_str::<Value>(on_card) else {
        return false;
    };
    new.outcome == "already-done"
        && old["outcome"] == "flashed"
        && old["image_id"].as_str() == new.image_id.as_deref()
        && old["target"]["serial"].as_str() == new.target.as_ref().map(|disk| disk.serial.as_str())
}

fn receipt(machine: &Machine, node: &Node, failure: Option<&Failure>) -> Receipt {
    let report = node.report.as_ref();
    let untouched = failure.is_none();
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
        fault: failure.map(|failure| failure.fault.number()),
        message: failure.map(|failure| failure.message.clone()),
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
             The node looks again by itself: it need not be touched once the cause is mended.\n",
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
    format!(
        "gild {}: the last outcome of one node\n\n{outcome}\nBoard:  {}, serial {}\nMAC:    {}\nImage:  {}\nDisk:   {disk}\n",
        receipt.agent_version,
        or_unknown(&receipt.board),
        or_unknown(&receipt.serial),
        or_unknown(&receipt.mac),
        or_unknown(&receipt.image_id),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gild_flash::Fault;
    use gild_flash::select::Candidate;

    use super::*;
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
