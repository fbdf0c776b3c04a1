//! One report: a JSON object, posted to the status URL.

use serde::{Deserialize, Serialize};

/// Longest report that is read, bytes.
pub const MAX_LENGTH: usize = 64 << 10;

/// Who speaks, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The flasher, while it works.
    #[default]
    Progress,
    /// The flasher, when a flash has ended or failed. It has further fields: docs/configuration.md.
    Receipt,
    /// The node that the image has become.
    Node,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// To know.
    #[default]
    Note,
    /// It slows the board down, or will fail.
    Warning,
}

/// Hardware that is slow or ill.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// What it is about: `link`, `pcie`, `nvme`, `power`, `clock`.
    pub subject: String,
    /// How much it matters.
    pub level: Level,
    /// In words, with what to do.
    pub message: String,
}

/// What a board says of itself. What is not known is left out. A reader ignores fields that it does not know, so that boards and
/// desk may have different versions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Who speaks.
    pub kind: Kind,
    /// The MAC address by which the node is known, with colons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// The addresses of the board's further wired interfaces: the node may ask with any of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_macs: Vec<String>,
    /// One start of the board: 16 hex digits, another at each start.
    pub boot: String,
    /// Counts the reports of one start. A report that comes again later than a higher one is not taken.
    pub sequence: u64,
    /// Seconds since the board started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_seconds: Option<u64>,
    /// gild's name of the board.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub board: Option<String>,
    /// The board's serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The name of the node, or the name that it is going to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Its address in the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The image on its disk, or that is being written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// Another image on the share, if the node keeps its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered: Option<String>,
    /// Whether the image still has to prove that it starts.
    pub on_trial: bool,
    /// The flasher's stage (`flash`, `verify`, ...: the stages of the console), or the node's: `named`, `joining`, `joined`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// How much of the stage is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// How fast.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// How much longer the stage will take, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// `flashed`, `already-done` or `fault`: a receipt has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The number of the fault that the LED shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<u8>,
    /// What went wrong, or what is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the operator does about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
    /// Whether the board waits for the operator.
    pub held: bool,
    /// The signed order that the disk has carried out last, or that the board carries out now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Hardware that is slow or ill.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hardware: Vec<Finding>,
    /// The version of the program that speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_said() {
        let report = Report {
            mac: Some("d8:3a:dd:01:02:03".to_owned()),
            boot: "0011223344556677".to_owned(),
            ..Report::default()
        };
        assert_eq!(
            serde_json::to_string(&report).expect("JSON"),
            "{\"kind\":\"progress\",\"mac\":\"d8:3a:dd:01:02:03\",\"boot\":\"0011223344556677\",\"sequence\":0,\
             \"on_trial\":false,\"held\":false}"
        );
    }

    #[test]
    fn a_report_of_a_later_version_is_read() {
        let text = "{\"kind\":\"receipt\",\"mac\":\"d8:3a:dd:01:02:03\",\"fault\":4,\"chunks\":12,\"new\":{\"a\":1}}";
        let report: Report = serde_json::from_str(text).expect("a report");
        assert_eq!((report.kind, report.fault), (Kind::Receipt, Some(4)));
    }
}
