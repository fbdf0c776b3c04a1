//! Images, identities, reports, and the folder that `gild init` makes.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use gild_report::{PROOF_HEADER, Proof, SIGNATURE_HEADER};
use serde_json::{Value, json};

use crate::common::{self, Bench, Ran};
use crate::serve::{MAC, Serve, TOKEN, init};

fn flash(sequence: u64, percent: u8) -> Value {
    json!({"kind": "progress", "mac": MAC, "boot": "0123456789abcdef", "sequence": sequence, "board": "rpi5",
        "stage": "flash", "percent": percent, "bytes_per_second": 100_000_000, "image_id": "one"})
}

#[test]
fn a_desk_serves_images_and_tells_a_flashed_board_who_it_is() {
    let bench = Bench::with_disk();
    init(&bench, &[]).succeeds();
    bench
        .gild([
            "node", "add", "desk", "--mac", MAC, "--name", "node-1", "--label", "rack=b2",
        ])
        .succeeds();
    let pack = [
        "--key",
        "desk/site.key",
        "--output",
        "desk/images",
        "--id",
        "one",
    ];
    let mut packing = bench.command();
    packing.args([
        "image",
        "pack",
        "disk.img",
        "--board",
        "rpi5",
        "--build-time",
        common::BUILD_TIME,
    ]);
    Ran::of(packing.args(pack)).succeeds();

    let serve = Serve::start(&bench);
    // As nodes read them.
    let servers = [
        format!(
            "nfs://127.0.0.1:{}/images/rpi5/golden.json",
            serve.port("nfs")
        ),
        serve.http("/images/rpi5/golden.json"),
        serve.https("/images/rpi5/golden.json"),
    ];
    for server in &servers {
        bench
            .gild([
                "image",
                "verify",
                server,
                "--key",
                "desk/site.pub",
                "--ca",
                "desk/tls/ca.pem",
            ])
            .succeeds();
    }

    assert!(
        serve.metadata().contains("K3S_TOKEN_WITHHELD="),
        "no card has reported it"
    );
    assert_eq!(serve.report(&bench, &flash(1, 10)), 204);
    let answer = serve.metadata();
    for line in [
        &format!("K3S_TOKEN={TOKEN}"),
        "HOSTNAME=node-1",
        "K3S_NODE_LABELS_LABEL1=rack=b2",
    ] {
        assert!(answer.lines().any(|one| one == line), "{answer}");
    }
    let node = &serve.rack()["nodes"][0];
    assert_eq!(
        (&node["state"], &node["percent"]),
        (&json!("flashing"), &json!(10))
    );
    drop(serve);

    // It was killed, and knows what it knew.
    let serve = Serve::start(&bench);
    assert!(serve.metadata().contains(TOKEN));
    let proof = Proof::of([7; 32]);
    let joined = json!({"kind": "node", "mac": MAC, "boot": "n", "sequence": 1, "stage": "joined", "hostname": "node-1"});
    assert_eq!(
        serve
            .post("/report", &joined, &[(PROOF_HEADER, proof.reveal())])
            .0,
        204
    );
    assert!(!serve.metadata().contains(TOKEN), "the door is closed");
    assert_eq!(serve.rack()["nodes"][0]["state"], "joined");
    let url = serve.https(&format!("/metadata?mac={MAC}"));
    let refreshed = serve.get(&url, &[(PROOF_HEADER, proof.reveal())]).1;
    assert!(refreshed.contains(TOKEN), "{refreshed}");
}

#[test]
fn nothing_that_the_desk_shows_has_a_secret_in_it() {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    bench
        .gild(["node", "add", "desk", "--mac", MAC, "--name", "node-1"])
        .succeeds();
    let serve = Serve::start(&bench);
    assert_eq!(serve.report(&bench, &flash(1, 10)), 204);
    assert!(serve.metadata().contains(TOKEN));
    let read = |name: &str| {
        fs::read_to_string(bench.path(name))
            .expect(name)
            .trim()
            .to_owned()
    };
    let proof = Proof::of([7; 32]);
    let secrets = [
        TOKEN.to_owned(),
        read("desk/login"),
        read("desk/report.key"),
        proof.reveal().to_owned(),
        proof.digest(),
    ];
    for path in [
        "/",
        "/page.js",
        "/page.css",
        "/rack.json",
        "/metrics",
        "/metadata?mac=d8:3a:dd:01:02:04",
        "/login",
        "/desk.toml",
        "/images/../login",
    ] {
        let body = serve.get(&serve.https(path), &[]).1;
        for secret in &secrets {
            assert!(!body.contains(secret.as_str()), "{path}");
        }
    }
    let without_tls = serve.get(&serve.http(&format!("/metadata?mac={MAC}")), &[]);
    assert_eq!(without_tls.0, 404, "{}", without_tls.1);
    for path in [
        "/images/.gild-lock",
        "/images/%2egild-lock",
        "/images/rpi5/.x",
    ] {
        fs::create_dir_all(bench.path("desk/images/rpi5")).expect("a folder");
        for hidden in ["desk/images/.gild-lock", "desk/images/rpi5/.x"] {
            fs::write(bench.path(hidden), "half").expect("a file");
        }
        assert_eq!(serve.get(&serve.http(path), &[]).0, 404, "{path}");
    }
    for name in [
        "desk/login",
        "desk/report.key",
        "desk/site.key",
        "desk/cluster.json",
        "desk/gild.toml",
        "desk/groups/node-1.json",
        "desk/journal.jsonl",
        "desk/tls/ca.key",
        "desk/tls/server.key",
    ] {
        let mode = fs::metadata(bench.path(name))
            .expect(name)
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{name} can be read by others");
    }
}

#[test]
fn only_the_operator_moves_a_door() {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    bench
        .gild(["node", "add", "desk", "--mac", MAC, "--name", "node-1"])
        .succeeds();
    let serve = Serve::start(&bench);
    let wish = json!({"mac": MAC, "open": true});
    for login in ["", "Bearer ", "Bearer 0123", "Basic x"] {
        let (status, body) = serve.post("/door", &wish, &[("authorization", login)]);
        assert_eq!(status, 401, "{login}: {body}");
    }
    assert!(!serve.metadata().contains(TOKEN));
    let login = fs::read_to_string(bench.path("desk/login")).expect("a login");
    let login = format!("Bearer {}", login.trim());
    assert_eq!(
        serve.post("/door", &wish, &[("authorization", &login)]).0,
        204
    );
    assert!(serve.metadata().contains(TOKEN));
    let wrong = json!({"mac": "x", "open": true});
    assert_eq!(
        serve.post("/door", &wrong, &[("authorization", &login)]).0,
        400
    );
}

#[test]
fn what_is_not_a_report_is_refused_and_one_that_is_known_is_not() {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    let serve = Serve::start(&bench);
    let unsigned = |body: &Value| serve.post("/report", body, &[]).0;
    assert_eq!(unsigned(&json!({"mac": "x"})), 400);
    assert_eq!(unsigned(&json!([])), 400);
    assert_eq!(
        unsigned(&json!({"mac": MAC, "message": "x".repeat(100_000)})),
        413
    );
    let forged = serve.post(
        "/report",
        &flash(1, 1),
        &[(SIGNATURE_HEADER, &"0b".repeat(32))],
    );
    assert_eq!(forged.0, 403, "{}", forged.1);
    assert_eq!(serve.report(&bench, &flash(1, 10)), 204);
    assert_eq!(
        serve.report(&bench, &flash(1, 10)),
        200,
        "whoever repeats it can stop"
    );
    assert_eq!(
        serve
            .get(&serve.https("/metadata?mac=02:00:00:00:00:09"), &[])
            .0,
        404
    );
}

#[test]
fn a_desk_is_never_overwritten_and_what_cannot_be_meant_makes_none() {
    let bench = Bench::new();
    init(&bench, &["--address", "10.0.0.1:80"]).fails_saying(&["`10.0.0.1:80`", "without a port"]);
    init(&bench, &["--k3s-url", "http://k:6443"])
        .fails_saying(&["--k3s-url must begin with https://"]);
    fs::write(bench.path("token"), "").expect("a file");
    bench
        .gild([
            "init",
            "desk",
            "--address",
            "a",
            "--k3s-url",
            "https://k3s.invalid:6443",
            "--k3s-token-file",
            "token",
        ])
        .fails_saying(&["the token in token cannot be used", "is empty"]);
    bench
        .gild(["init", "desk"])
        .fails_saying(&["--address is missing", "next: give --address"]);
    assert!(!bench.path("desk").exists());
    bench
        .gild(["serve", "desk"])
        .fails_saying(&["is not a folder", "next: make one: gild init desk"]);
    let made = init(&bench, &[]).succeeds();
    assert!(!made.stderr.contains("s3cret") && !made.stdout.contains("s3cret"));
    init(&bench, &[]).fails_saying(&["is there already", "next: name another folder"]);
}

#[test]
fn a_node_is_added_once_and_as_it_will_read_itself() {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    let add = |mac: &str, name: &str, label: &str| {
        let mut args = vec!["node", "add", "desk", "--mac", mac, "--name", name];
        if !label.is_empty() {
            args.extend(["--label", label]);
        }
        bench.gild(args)
    };
    add(MAC, "Node_1", "").fails_saying(&["would not become Node_1", "lower-case letters"]);
    add("d8:3a", "node-1", "").fails_saying(&["is not a MAC address"]);
    add(MAC, "node-1", "nolabel").fails_saying(&["must be \"label=value\""]);
    assert!(bench.names("desk/groups").is_empty());
    add(MAC, "node-1", "").succeeds();
    add(MAC, "node-2", "").fails_saying(&["has this MAC address or this name already"]);
    add("d8:3a:dd:01:02:04", "node-1", "")
        .fails_saying(&["has this MAC address or this name already"]);
    assert_eq!(bench.names("desk/groups"), ["node-1.json"]);
}

#[test]
fn a_second_desk_and_a_taken_port_are_said() {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    let serve = Serve::start(&bench);
    let listen = ["serve", "desk", "--listen", "127.0.0.1"];
    bench
        .gild(listen)
        .fails_saying(&["is in use", "next: stop that one"]);
    let port: u16 = serve.port("http").parse().expect("a port");
    drop(serve);
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port");
    bench.gild(listen).fails_saying(&[
        "cannot listen on 127.0.0.1:",
        "next: stop what has that port",
    ]);
}

#[test]
fn sigterm_ends_it_well() {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    let mut serve = Serve::start(&bench);
    let id = serve.child.id().to_string();
    Ran::of(Command::new("kill").arg(&id)).succeeds();
    assert!(serve.child.wait().expect("an end").success());
}
