//! A desk's folder with two boards in it, and what boards report.

use std::fs;
use std::path::Path;

use gild_boards::mac::Mac;
use gild_desk::desk::{Desk, ReportError, Shown};
use gild_desk::folder::Folder;
use gild_report::{Kind, Proof, Report, ReportKey};
use serde_json::json;
use tempfile::TempDir;

pub const MAC: Mac = Mac([0xd8, 0x3a, 0xdd, 1, 2, 3]);
pub const OTHER: Mac = Mac([0xd8, 0x3a, 0xdd, 1, 2, 4]);
pub const TOKEN: &str = "s3cret-of-the-cluster";

pub fn key() -> ReportKey {
    ReportKey::parse(&"0b".repeat(32)).expect("a key")
}

pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("written");
    };
    for name in ["groups", "journal"] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    write("report.key", &"0b".repeat(32));
    write("login", &"0d".repeat(32));
    for (name, mac) in [("node-1", MAC), ("node-2", OTHER)] {
        let group = json!({"selector": {"mac": mac.to_string()},
            "metadata": {"hostname": name, "k3s_url": "https://k:6443", "k3s_token": TOKEN}});
        write(&format!("groups/{name}.json"), &group.to_string());
    }
    folder
}

/// What the node on this board shows; no other node can make it.
pub fn proof_of(mac: Mac) -> String {
    Proof::of([mac.0[5]; 32]).reveal().to_owned()
}

pub fn open(folder: &Path) -> Desk {
    Desk::open(&Folder::new(folder)).expect("a desk")
}

/// A report of the flasher in this stage.
pub fn progress(boot: &str, sequence: u64, stage: &str) -> Report {
    Report {
        mac: Some(MAC.to_string()),
        boot: boot.to_owned(),
        sequence,
        stage: Some(stage.to_owned()),
        ..Report::default()
    }
}

pub fn receipt(boot: &str, sequence: u64, outcome: &str) -> Report {
    Report {
        kind: Kind::Receipt,
        outcome: Some(outcome.to_owned()),
        ..progress(boot, sequence, "receipt")
    }
}

pub fn of_node(boot: &str, sequence: u64, stage: &str) -> Report {
    Report {
        kind: Kind::Node,
        ..progress(boot, sequence, stage)
    }
}

pub fn signed(desk: &Desk, report: &Report) -> Result<(), ReportError> {
    let body = serde_json::to_vec(report).expect("JSON");
    let signature = key().sign(&body);
    let shown = Shown {
        signature: Some(&signature),
        ..Shown::default()
    };
    desk.report(&body, shown)
}

pub fn unsigned(desk: &Desk, report: &Report, proof: Option<&str>) -> Result<(), ReportError> {
    let body = serde_json::to_vec(report).expect("JSON");
    let shown = Shown {
        proof,
        ..Shown::default()
    };
    desk.report(&body, shown)
}
