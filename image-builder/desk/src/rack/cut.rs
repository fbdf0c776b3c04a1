//! What the desk keeps of a report: a limited number of short fields, whatever the board sent.

use gild_boards::mac::Mac;
use gild_report::{Finding, Report};

use super::Trust;

/// A board has at most this many addresses.
pub(super) const MOST_MACS: usize = 8;
const MOST_FINDINGS: usize = 16;
/// Longest name, and longest sentence, bytes.
const NAME: usize = 128;
const TEXT: usize = 500;
/// The same for a stranger, because anybody can invent any number of strangers.
const STRANGER_NAME: usize = 80;
const STRANGER_TEXT: usize = 200;

/// The report without what the desk does not keep.
#[must_use]
pub fn cut(report: &Report, trust: Trust) -> Report {
    let mac = report.mac.as_deref().and_then(Mac::parse);
    let is_stranger = trust == Trust::Nobody;
    let (name, text) = if is_stranger {
        (STRANGER_NAME, STRANGER_TEXT)
    } else {
        (NAME, TEXT)
    };
    let name = |said: &Option<String>| said.as_deref().map(|said| short(said, name));
    let text = |said: &Option<String>| said.as_deref().map(|said| short(said, text));
    let few = Report {
        kind: report.kind,
        mac: mac.map(|mac| mac.to_string()),
        boot: report.boot.clone(),
        sequence: report.sequence,
        board: name(&report.board),
        hostname: name(&report.hostname),
        address: name(&report.address),
        image_id: name(&report.image_id),
        stage: name(&report.stage),
        percent: report.percent,
        outcome: name(&report.outcome),
        fault: report.fault,
        message: text(&report.message),
        ..Report::default()
    };
    if is_stranger {
        return few;
    }
    let others = report.other_macs.iter().filter_map(|mac| Mac::parse(mac));
    let findings = report.hardware.iter().take(MOST_FINDINGS);
    Report {
        other_macs: others
            .take(MOST_MACS - 1)
            .map(|mac| mac.to_string())
            .collect(),
        serial: name(&report.serial),
        offered: name(&report.offered),
        on_trial: report.on_trial,
        bytes_per_second: report.bytes_per_second,
        seconds_left: report.seconds_left,
        next_step: text(&report.next_step),
        held: report.held,
        order: name(&report.order),
        hardware: findings
            .map(|finding| Finding {
                subject: short(&finding.subject, NAME),
                level: finding.level,
                message: short(&finding.message, TEXT),
            })
            .collect(),
        ..few
    }
}

/// A board's text without characters that do not belong on a page or in a journal.
fn short(text: &str, longest: usize) -> String {
    let mut short = String::new();
    for visible in text.chars().filter(|c| !c.is_control()) {
        if short.len() + visible.len_utf8() > longest {
            break;
        }
        short.push(visible);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use gild_report::MAX_LENGTH;

    /// Little is kept even of the longest possible report, from any sender.
    #[test]
    fn of_the_longest_report_little_is_kept() {
        let long = || Some("\u{20ac}\u{1b}".repeat(MAX_LENGTH / 4));
        let finding = Finding {
            subject: "x".repeat(1000),
            message: "x".repeat(1000),
            ..Finding::default()
        };
        let report = Report {
            // A MAC address may have any number of colons.
            mac: Some(format!("d83add010203{}", ":".repeat(MAX_LENGTH))),
            other_macs: vec!["02:00:00:00:00:01".to_owned(); 3000],
            board: long(),
            serial: long(),
            hostname: long(),
            address: long(),
            image_id: long(),
            offered: long(),
            stage: long(),
            outcome: long(),
            message: long(),
            next_step: long(),
            order: long(),
            hardware: vec![finding; 60],
            agent_version: long(),
            ..Report::default()
        };
        for (trust, most) in [
            (Trust::Nobody, 1_300),
            (Trust::Node, 14_000),
            (Trust::Card, 14_000),
        ] {
            let kept = cut(&report, trust);
            assert_eq!(kept.mac.as_deref(), Some("d8:3a:dd:01:02:03"));
            let length = serde_json::to_vec(&kept).expect("JSON").len();
            assert!(length < most, "{trust:?}: {length}");
            assert_eq!(cut(&kept, trust), kept, "there is nothing more to cut");
        }
    }
}
