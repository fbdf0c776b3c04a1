//! Simulated boards, and a rack with one in each state.

use std::fmt::Write;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::common::Bench;
use crate::serve::Serve;
use gild_report::{PROOF_HEADER, Proof};

pub fn now() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    time.expect("after 1970").as_secs()
}

/// A MAC address of a Raspberry Pi that ends so.
pub fn mac(last: u8) -> String {
    format!("d8:3a:dd:01:02:{last:02x}")
}

/// A report of the flasher in this stage, with more fields.
pub fn flasher(last: u8, sequence: u64, stage: &str, more: &Value) -> Value {
    let mut report = json!({"kind": "progress", "mac": mac(last), "boot": "0123456789abcdef", "sequence": sequence,
        "board": "rpi5", "stage": stage, "image_id": "bookworm-2026-11"});
    let fields = report.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    report
}

/// A report of a node, which shows its secret.
pub fn node(serve: &Serve, last: u8, sequence: u64, stage: &str, more: &Value) -> u16 {
    let mut report = flasher(last, sequence, stage, more);
    report["kind"] = json!("node");
    let proof = Proof::of([last; 32]);
    serve
        .post("/report", &report, &[(PROOF_HEADER, proof.reveal())])
        .0
}

pub fn add(bench: &Bench, last: u8, name: &str) {
    bench
        .gild(["node", "add", "desk", "--mac", &mac(last), "--name", name])
        .succeeds();
}

/// What a desk has seen before it starts: reports and when they came, as its journal has them.
pub fn remember(bench: &Bench, seen: &[(u64, &str, Value)]) {
    let mut lines = String::new();
    for (at, trust, report) in seen {
        let line = json!({"what": "reported", "at": at, "trust": trust, "report": report});
        writeln!(lines, "{line}").expect("a string takes it");
    }
    fs::write(bench.path("desk/journal/journal.jsonl"), lines).expect("written");
}

/// Eight boards, one in each state.
pub fn in_all_states(bench: &Bench) -> Serve {
    let now = now();
    let named = |name: &str, last: u8| json!({"hostname": name, "address": format!("192.168.1.{}", 20 + last)});
    let with = |mut fields: Value, more: &Value| {
        let more = more.as_object().expect("an object").clone();
        fields.as_object_mut().expect("an object").extend(more);
        fields
    };
    let mut seen = Vec::new();
    for last in 1..=7 {
        let name = format!("node-{last}");
        // The last known board has no group, and so no name.
        if last < 7 {
            add(bench, last, &name);
        }
        let fields = if last < 7 {
            named(&name, last)
        } else {
            json!({})
        };
        seen.push((now - 400, "card", flasher(last, 1, "network", &fields)));
    }
    let fault = json!({"fault": 4, "held": true, "message": "the manifest is signed with another key than the one on the card",
        "hardware": [{"subject": "link", "level": "warning", "message": "the network link runs at 100 Mbit/s; try another cable or port"}]});
    let flash = json!({"percent": 62, "bytes_per_second": 104_000_000, "seconds_left": 74});
    let joined = json!({"kind": "node", "boot": "n"});
    for (age, last, stage, fields) in [
        (350, 1, "flash", json!({})),
        (330, 2, "flash", json!({})),
        (310, 3, "flash", json!({})),
        (300, 4, "flash", json!({})),
        (290, 5, "flash", json!({})),
        (200, 1, "boot-order", json!({})),
        (190, 5, "boot-order", json!({})),
        (170, 2, "verify", json!({"percent": 31})),
        (100, 6, "manifest", fault),
        (60, 5, "named", with(named("node-5", 5), &joined)),
        (40, 1, "joined", with(named("node-1", 1), &joined)),
        (
            12,
            5,
            "joining",
            with(
                json!({"message": "the cluster's server does not answer"}),
                &joined,
            ),
        ),
        (
            8,
            4,
            "receipt",
            json!({"kind": "receipt", "outcome": "flashed", "on_trial": true}),
        ),
        (3, 7, "network", json!({})),
        (1, 3, "flash", flash),
    ] {
        seen.push((
            now - age,
            if fields["kind"] == "node" {
                "node"
            } else {
                "card"
            },
            flasher(last, 1000 - age, stage, &fields),
        ));
    }
    remember(bench, &seen);
    let serve = Serve::start(bench);
    let stranger = flasher(
        0x66,
        1,
        "flash",
        &json!({"mac": "02:00:00:00:00:66", "percent": 10}),
    );
    assert_eq!(serve.post("/report", &stranger, &[]).0, 204);
    serve
}

/// A hundred boards on their way.
pub fn hundred(bench: &Bench) -> Serve {
    let now = now();
    let seen: Vec<_> = (1..=100)
        .map(|last: u8| {
            let name =
                json!({"hostname": format!("node-{last}"), "address": format!("192.168.1.{last}")});
            let (age, stage) = match last {
                _ if last.is_multiple_of(37) => (200, "verify"),
                _ if last.is_multiple_of(29) => (2, "target"),
                71..=90 => (1, "flash"),
                91..=96 => (6, "boot-order"),
                97.. => (4, "network"),
                _ => (600, "joined"),
            };
            let more = match stage {
                "flash" => json!({"percent": last, "seconds_left": 400 - 4 * u64::from(last)}),
                "target" => json!({"fault": 5}),
                "joined" => json!({"kind": "node"}),
                _ => json!({}),
            };
            let mut report = flasher(last, 1, stage, &name);
            let fields = report.as_object_mut().expect("an object");
            fields.extend(more.as_object().expect("an object").clone());
            let trust = if stage == "joined" { "node" } else { "card" };
            (now - age, trust, report)
        })
        .collect();
    remember(bench, &seen);
    let everyone = json!({"metadata": {"k3s_url": "https://k3s.invalid:6443"}});
    fs::write(
        bench.path("desk/groups/everyone.json"),
        everyone.to_string(),
    )
    .expect("written");
    Serve::start(bench)
}
