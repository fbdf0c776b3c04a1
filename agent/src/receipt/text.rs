//! A receipt as a person reads it.

use gild_faults::Fault;

use super::content::{DRY_RUN, FLASHED, HELD, Receipt};
use crate::failure::Failure;

/// The outcome for a person who reads the card on a laptop.
pub fn text(receipt: &Receipt, failure: Option<&Failure>, stage: &str) -> String {
    let report = &receipt.report;
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
        None if report.outcome.as_deref() == Some(FLASHED) => {
            "The disk was written, verified and committed.\n".to_owned()
        }
        None if matches!(report.outcome.as_deref(), Some(HELD | DRY_RUN)) => {
            "Nothing is written for now, and the node looks again by itself.\n".to_owned()
        }
        None => "The disk carried the image already; nothing was written.\n".to_owned(),
    };
    let discard = if receipt.discard_left_out {
        "The disk was not discarded, because earlier discards of it did not end: data of a former owner may be left on it beyond the image.\n"
    } else {
        ""
    };
    let trial = if failure.is_none() && report.on_trial {
        "The image has not proven itself yet: the board restarts to start it. Leave the card in.\n"
    } else {
        ""
    };
    let offered = report.offered.as_ref().map_or_else(String::new, |offered| {
        format!(
            "The share has image {offered}. It was not taken, because nobody ordered this disk to be written again.\n"
        )
    });
    let boot_order = match (failure, &report.next_step) {
        (None, Some(next_step)) => format!(
            "\n{}\nWhat:   {}\nDo:     {next_step}\n\
             The node was restarted all the same, because its disk is good.\n",
            if report.fault.is_some() {
                let fault = Fault::BootOrder;
                format!("FAULT {}: {}", fault.number(), fault.meaning())
            } else {
                "The boot order stays as it was.".to_owned()
            },
            or_unknown(&report.message),
        ),
        _ => String::new(),
    };
    let said = match (failure, &report.next_step, &report.message) {
        (None, None, Some(message)) => format!("\n{message}\n"),
        _ => String::new(),
    };
    let changes = receipt.boot_order_changes.iter();
    let changes: String = changes
        .flat_map(|change| ["        ", change, "\n"])
        .collect();
    let hardware: String = report
        .hardware
        .iter()
        .flat_map(|found| ["Found:  ", &found.message, "\n"])
        .collect();
    format!(
        "gild {}: the last outcome of one node\n\n{outcome}{discard}{trial}{offered}{boot_order}{said}\nBoard:  {}, serial {}\nMAC:    {}\nImage:  {}\nDisk:   {disk}\n\
         Boot:   {}\n{changes}{hardware}",
        or_unknown(&report.agent_version),
        or_unknown(&report.board),
        or_unknown(&report.serial),
        or_unknown(&report.mac),
        or_unknown(&report.image_id),
        receipt.boot_order.as_deref().unwrap_or("not reached"),
    )
}
