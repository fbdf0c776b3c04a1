use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use gild_http_testkit::{Reply, Request, Server};
use gild_report::PROOF_HEADER;
use serde_json::{Value, json};

use super::*;
use crate::document::{Seed, instance_id};
use crate::test_server::{authority, serve};

const MAC: Mac = Mac([0xd8, 0x3a, 0xdd, 0x01, 0x02, 0x03]);
const HASH: &str = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";

/// The root directory of a node with two wired interfaces. Its image asks this server.
pub fn node(matchbox: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    for (name, mac) in [
        ("eth0", MAC.to_string()),
        ("eth1", "02:00:00:00:00:01".to_owned()),
    ] {
        write(&root, &format!("sys/class/net/{name}/address"), &mac);
        write(&root, &format!("sys/class/net/{name}/ifindex"), "2");
        write(&root, &format!("sys/class/net/{name}/type"), "1");
        let hardware = root.path().join(format!("sys/class/net/{name}/device"));
        fs::create_dir(hardware).expect("hardware");
    }
    write(
        &root,
        "usr/lib/gild/image-release",
        "GILD_BOARD=rpi5\nGILD_IMAGE_ID=rpi5-0123456789ab\n",
    );
    write(
        &root,
        "etc/gild/first-boot.toml",
        &format!("matchbox = \"{matchbox}/base/\"\n"),
    );
    write(&root, BOOT_ID, "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9\n");
    root
}

fn write(root: &tempfile::TempDir, path: &str, text: &str) {
    let path = root.path().join(path);
    fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    fs::write(path, text).expect("a file");
}

fn token() -> String {
    format!("K10{HASH}::node:s3cret-of-the-cluster")
}

/// Gives the node an identity with everything that a seed may have.
pub fn name(root: &tempfile::TempDir) -> Said {
    let config = json!({ "server": "https://a:6443", "token": token(), "node-label": ["a=b"] });
    let said = Said {
        hostname: "node-1".to_owned(),
        ssh_keys: vec!["ssh-ed25519 AAAA op".to_owned()],
        config: serde_json::from_value(config).expect("an object"),
        password: "password-of-the-node".to_owned(),
        registries: Some(json!({
            "mirrors": {},
            "configs": { "r:5000": { "auth": { "username": "user-of-r", "password": "password-of-r" } } },
        })),
    };
    let image = Image::read(root.path()).expect("an image");
    let seed = Seed::of(instance_id(MAC, &image), &said);
    Place::below(root.path()).write(&seed).expect("a seed");
    said
}

/// A desk that takes every report.
fn desk() -> Server {
    Server::start(|_| Reply::new(204, ""))
}

/// The message in a report.
pub fn message(request: &Request) -> Option<String> {
    body(request)["message"].as_str().map(str::to_owned)
}

fn body(request: &Request) -> Value {
    serde_json::from_str(&request.body).expect("JSON")
}

fn last(server: &Server) -> Request {
    server.requests().pop().expect("a request")
}

#[test]
fn a_report_says_who_this_is_and_how_far_and_proves_it() {
    let desk = desk();
    let root = node(&desk.url());
    name(&root);
    write(&root, "run/gild/on-trial", "");
    let texts = ["nothing answers; next: start it".to_owned()];
    assert_eq!(report(root.path(), Stage::Joining, &texts), Outcome::Taken);
    let request = last(&desk);
    assert_eq!(request.line(), "POST /base/report");
    assert_eq!(request.header("content-type"), Some("application/json"));
    let proof = secret::proof(root.path()).expect("a secret");
    assert_eq!(request.header(PROOF_HEADER), Some(proof.reveal()));
    assert!(!request.body.contains(proof.reveal()), "{}", request.body);
    let mut found = body(&request);
    let before = found["sequence"].as_u64().expect("a number");
    assert!(found["uptime_seconds"].as_u64().expect("seconds") <= before / 1000);
    for key in ["sequence", "uptime_seconds"] {
        found[key].take();
    }
    let wanted = json!({
        "kind": "node", "mac": "d8:3a:dd:01:02:03", "other_macs": ["02:00:00:00:00:01"], "boot": "0a1b2c3d4e5f6071",
        "sequence": null, "uptime_seconds": null, "board": "rpi5", "hostname": "node-1", "address": "127.0.0.1",
        "image_id": "rpi5-0123456789ab", "on_trial": true, "stage": "joining", "message": "nothing answers",
        "next_step": "start it", "held": false, "agent_version": env!("CARGO_PKG_VERSION"),
    });
    assert_eq!(found, wanted);
    assert_eq!(report(root.path(), Stage::Joined, &[]), Outcome::Taken);
    let next = body(&last(&desk));
    assert!(next["sequence"].as_u64().expect("a number") > before);
}

/// k3s' log may have anything in it.
#[test]
fn no_value_of_the_seed_that_lets_anybody_in_is_in_a_report() {
    let desk = desk();
    let root = node(&desk.url());
    let said = name(&root);
    let secrets = said.secrets();
    assert_eq!(
        secrets.len(),
        5,
        "token, its password, the node's, and two of a registry"
    );
    let seed = fs::read_to_string(root.path().join("var/lib/cloud/seed/nocloud/user-data"));
    let text = format!(
        "k3s says: {}; next: {}",
        seed.expect("a seed"),
        secrets.join(" ")
    );
    assert_eq!(report(root.path(), Stage::Joining, &[text]), Outcome::Taken);
    let whole = format!("{:?}", last(&desk));
    for secret in secrets {
        assert!(!whole.contains(&secret), "{secret}: {whole}");
    }
    for known in ["s3cret", "password-of", "user-of-r"] {
        assert!(!whole.contains(known), "{known}: {whole}");
    }
}

#[test]
fn a_node_without_an_identity_says_why() {
    let desk = desk();
    let root = node(&desk.url());
    let seed = Seed::fallback(Some(MAC));
    Place::below(root.path()).write(&seed).expect("a seed");
    let texts = ["Matchbox does not know it".to_owned()];
    assert_eq!(report(root.path(), Stage::Named, &texts), Outcome::Taken);
    let request = last(&desk);
    assert!(request.header(PROOF_HEADER).is_some());
    let found = body(&request);
    assert_eq!(found["hostname"], "k3s-010203");
    assert_eq!(found["message"], "Matchbox does not know it");
}

/// The node's disk may be full or read-only. The node must boot all the same.
#[test]
fn a_node_that_cannot_keep_a_secret_says_so_and_shows_none() {
    let desk = desk();
    let root = node(&desk.url());
    name(&root);
    write(&root, "var/lib/gild/desk-secret.new/in-the-way", "");
    let texts = ["nothing answers".to_owned()];
    assert_eq!(report(root.path(), Stage::Joining, &texts), Outcome::Taken);
    let request = last(&desk);
    assert_eq!(request.header(PROOF_HEADER), None);
    let message = message(&request).expect("a message");
    assert!(
        message.starts_with("nothing answers; this node cannot write "),
        "{message}"
    );
    let next = body(&request)["next_step"].as_str().map(str::to_owned);
    assert!(
        next.is_some_and(|next| next.contains("make room")),
        "{message}"
    );
}

/// The desk does not know a node by its token.
#[test]
fn another_token_another_name_and_a_seed_that_is_gone_change_nothing_of_what_a_node_shows() {
    let desk = desk();
    let root = node(&desk.url());
    let seed = Seed::fallback(Some(MAC));
    Place::below(root.path()).write(&seed).expect("a seed");
    let shown = || {
        assert_eq!(report(root.path(), Stage::Named, &[]), Outcome::Taken);
        last(&desk).header(PROOF_HEADER).map(str::to_owned)
    };
    let first = shown();
    assert!(first.is_some());
    let mut said = name(&root);
    assert_eq!(shown(), first);
    said.config["token"] = json!("another");
    Place::below(root.path()).update(&said).expect("a seed");
    assert_eq!(shown(), first);
}

#[test]
fn a_matchbox_that_takes_no_reports_is_asked_once_in_a_start() {
    for status in [404, 405] {
        let matchbox = Server::start(move |_| Reply::new(status, ""));
        let root = node(&matchbox.url());
        name(&root);
        for _ in 0..3 {
            assert_eq!(report_member(root.path(), &PAUSES), Outcome::Nobody);
        }
        assert_eq!(matchbox.requests().len(), 1, "{status}");
        fs::remove_dir_all(root.path().join("run")).expect("another start");
        assert_eq!(report(root.path(), Stage::Joined, &[]), Outcome::Nobody);
        assert_eq!(matchbox.requests().len(), 2, "{status}");
    }
}

#[test]
fn a_desk_that_hangs_costs_its_five_seconds_and_no_more() {
    let desk = Server::start(|_| {
        thread::sleep(Duration::from_mins(1));
        Reply::new(204, "")
    });
    let root = node(&desk.url());
    name(&root);
    let start = Instant::now();
    let Outcome::Failed(why) = report(root.path(), Stage::Named, &[]) else {
        panic!("nobody has answered");
    };
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    assert!(why.contains("this node is named: "), "{why}");
}

/// The desk closes its door because of this report.
#[test]
fn that_a_node_has_joined_is_repeated_until_it_is_taken() {
    let count = AtomicUsize::new(0);
    let desk = Server::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(500, ""),
        1 => Reply::new(302, "").with("Location", "/login"),
        _ => Reply::new(204, ""),
    });
    let root = node(&desk.url());
    name(&root);
    write(
        &root,
        "proc/device-tree/compatible",
        "raspberrypi,5-model-b\0",
    );
    write(
        &root,
        "proc/device-tree/serial-number",
        "a1b2c3d4e5f60718\0",
    );
    let pauses = [Duration::from_millis(1); 5];
    assert_eq!(report_member(root.path(), &pauses), Outcome::Taken);
    let seen = desk.requests();
    assert_eq!(seen.len(), 3);
    assert!(
        seen.iter()
            .all(|request| body(request)["stage"] == "joined")
    );
    let proof = secret::proof(root.path()).expect("a secret");
    for request in &seen {
        assert_eq!(request.header(PROOF_HEADER), Some(proof.reveal()));
    }
    let whole = format!("{seen:?}");
    assert!(!whole.contains("a1b2c3d4e5f60718"), "{whole}");
}

#[test]
fn all_attempts_together_take_about_a_minute() {
    assert_eq!(PAUSES.iter().sum::<Duration>(), Duration::from_mins(1));
    let root = node("http://127.0.0.1:1");
    name(&root);
    let outcome = report_member(root.path(), &[Duration::from_millis(1); 2]);
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
}

#[test]
fn nobody_is_asked_without_a_matchbox_or_with_the_seed_of_another_board() {
    let desk = desk();
    let root = node(&desk.url());
    assert_eq!(report(root.path(), Stage::Named, &[]), Outcome::Nobody);
    name(&root);
    write(&root, "sys/class/net/eth0/address", "d8:3a:dd:0a:0b:0c");
    assert_eq!(report(root.path(), Stage::Named, &[]), Outcome::Nobody);
    write(&root, "sys/class/net/eth0/address", &MAC.to_string());
    write(&root, "etc/gild/first-boot.toml", "");
    assert_eq!(report(root.path(), Stage::Named, &[]), Outcome::Nobody);
    assert!(desk.requests().is_empty());
}

#[test]
fn a_report_goes_to_the_authority_that_matchbox_has_and_to_no_other() {
    let (ours, other) = (authority(), authority());
    for (signer, taken) in [(&ours, true), (&other, false)] {
        let url = serve(signer, 2020, |_| Reply::new(204, "")).url();
        let root = node(&url);
        let ca = root.path().join("ca.pem");
        fs::write(&ca, ours.pem()).expect("an authority");
        let settings = format!("matchbox = \"{url}\"\nca = \"{}\"\n", ca.display());
        write(&root, "etc/gild/first-boot.toml", &settings);
        name(&root);
        let outcome = report(root.path(), Stage::Named, &[]);
        assert_eq!(outcome == Outcome::Taken, taken, "{outcome:?}");
    }
}
