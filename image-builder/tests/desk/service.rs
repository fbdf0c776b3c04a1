//! Images, identities, reports, and the folder that `gild init` makes.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use gild_card_format::{Arguments, Config};
use gild_http::Access;
use gild_nfs::{NfsUrl, Share};
use gild_report::{PROOF_HEADER, Proof, ReportKey, SIGNATURE_HEADER};
use gild_source::{Backoff, Options};
use serde_json::{Value, json};

use crate::common::{self, Bench, Ran};
use crate::serve::{ARGUMENTS, MAC, Serve, TOKEN, init};

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

/// As a flash does it that the desk's end interrupts.
#[test]
fn who_reads_an_image_goes_on_when_the_desk_starts_again() {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    fs::create_dir(bench.path("desk/images/rpi5")).expect("a folder");
    let image: Vec<u8> = (0..4_u32 << 20).map(|it| (it % 251) as u8).collect();
    fs::write(bench.path("desk/images/rpi5/image"), &image).expect("a file");
    let serve = Serve::start(&bench);
    let url = format!("nfs://127.0.0.1:{}/images/rpi5", serve.port("nfs"));
    let url = NfsUrl::parse(&url).expect("an address");
    let patience = Arc::new(Backoff::forever());
    let share = Share::connect(&url, Options::default(), patience).expect("a share");
    let file = share.open("image").expect("a file");
    let mut read = vec![0; image.len()];
    let (first, rest) = read.split_at_mut(1 << 20);
    file.read_exact_at(first, 0).expect("the beginning");
    drop(serve);
    thread::scope(|scope| {
        let reader = scope.spawn(|| file.read_exact_at(rest, 1 << 20));
        let _serve = Serve::start(&bench);
        reader.join().expect("an end").expect("the rest");
    });
    assert!(read == image);
    assert!(share.stats().reconnects > 0, "nothing was interrupted");
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
        "/audit",
        "/orders/d83add010203",
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
        "desk/journal/journal.jsonl",
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

/// The key in the configuration that cards are built with.
fn key_of_cards(bench: &Bench) -> ReportKey {
    let text = fs::read_to_string(bench.path("desk/gild.toml")).expect("a configuration");
    let config = Config::parse(Some(&text), &Arguments::default()).expect("a configuration");
    config.status_key.expect("a key")
}

#[test]
fn a_lost_card_opens_no_door_once_the_desk_has_another_key() {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    let lost = key_of_cards(&bench);
    fs::remove_file(bench.path("desk/report.key")).expect("a key that is lost, too");
    let changed = bench.gild(["card", "new-key", "desk"]).succeeds();
    let key = fs::read_to_string(bench.path("desk/report.key")).expect("a key");
    assert!(
        !format!("{changed:?}").contains(key.trim()),
        "the key is not shown"
    );
    for name in ["desk/report.key", "desk/gild.toml"] {
        let about = fs::metadata(bench.path(name)).expect(name);
        assert_eq!(about.permissions().mode() & 0o777, 0o600, "{name}");
    }

    let serve = Serve::start(&bench);
    assert_eq!(serve.report_by(&lost, &flash(1, 10)), 403);
    assert_eq!(serve.report_by(&key_of_cards(&bench), &flash(1, 10)), 204);
}

#[test]
fn a_folder_that_is_not_a_desk_gets_no_new_key() {
    let bench = Bench::new();
    bench
        .gild(["card", "new-key", "desk"])
        .fails_saying(&["desk is not a folder", "next: "]);
    init(&bench, &[]).succeeds();
    let before = bench.bytes("desk/report.key");
    fs::write(
        bench.path("desk/gild.toml"),
        "server = \"nfs://nas/images\"\n",
    )
    .expect("a file");
    bench
        .gild(["card", "new-key", "desk"])
        .fails_saying(&["one line `status_key", "next: "]);
    assert_eq!(bench.bytes("desk/report.key"), before);
}

#[test]
fn http_on_the_port_with_tls_is_answered_with_the_right_address() {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    let serve = Serve::start(&bench);
    let port = serve.port("https").parse().expect("a port");
    for request in [
        "GET / HTTP/1.1\r\nhost: desk\r\n\r\n".to_owned(),
        format!(
            "POST /report HTTP/1.1\r\nhost: desk\r\ncontent-length: 30000\r\n\r\n{}",
            "x".repeat(30_000)
        ),
    ] {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
        stream.write_all(request.as_bytes()).expect("it is read");
        let mut answer = String::new();
        stream.shutdown(Shutdown::Write).expect("an end");
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let next = format!("next: open https://127.0.0.1:{port}");
        assert!(answer.contains(&next), "{answer}");
    }
    assert_eq!(serve.report_by(&key_of_cards(&bench), &flash(1, 10)), 204);
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
    // A group for each board says of none who it is.
    fs::write(
        bench.path("desk/groups/everyone.json"),
        r#"{"id": "everyone", "metadata": {"k3s_url": "https://10.0.0.1:6443"}}"#,
    )
    .expect("a group");
    let nobody = json!({"mac": "02:00:00:00:00:09", "open": true});
    let (status, why) = serve.post("/door", &nobody, &[("authorization", &login)]);
    assert_eq!(status, 404);
    for part in [
        "no group says who 02:00:00:00:00:09 is",
        "; next: gild node add",
    ] {
        assert!(why.contains(part), "{why}");
    }
    let nodes = serve.rack()["nodes"].clone();
    assert_eq!(nodes.as_array().map(Vec::len), Some(1), "it makes no board");
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
        "anyone who repeats it can stop"
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
    for address in ["0.0.0.0", "192.168.001.010", "256.1.1.1", "fe80::1"] {
        init(&bench, &["--address", address]).fails_saying(&[
            "--address: ",
            address,
            "next: write",
        ]);
    }
    init(&bench, &["--nfs-port", "0"]).fails_saying(&["--nfs-port"]);
    let cut = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcI me\n";
    for keys in [
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n",
        "hello\n",
        cut,
    ] {
        fs::write(bench.path("keys"), keys).expect("a file");
        init(&bench, &["--ssh-keys", "keys"]).fails_saying(&["keys", "next: "]);
    }
    // As Notepad and PowerShell save it.
    let utf_16 = |text: &str| -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    };
    let advice = "is text in UTF-16; next: save it as plain text in UTF-8";
    fs::write(bench.path("keys"), utf_16(cut)).expect("a file");
    init(&bench, &["--ssh-keys", "keys"]).fails_saying(&["keys", advice]);
    fs::write(bench.path("wide"), utf_16(TOKEN)).expect("a file");
    bench
        .gild([
            "init",
            "desk",
            "--address",
            "10.0.0.1",
            "--k3s-url",
            "https://k:6443",
            "--k3s-token-file",
            "wide",
        ])
        .fails_saying(&["the token wide", advice]);
    fs::write(bench.path("wide"), utf_16("a key\n")).expect("a file");
    for (what, args) in [
        ("the key", &["key", "show", "wide"][..]),
        (
            "the public key",
            &["image", "verify", "images", "--key", "wide"],
        ),
    ] {
        bench
            .gild(args.iter().copied())
            .fails_saying(&[what, advice]);
    }
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
fn a_desk_without_ssh_keys_is_warned_of_unless_it_is_meant() {
    for (option, is_warned) in [(&[][..], true), (&["--no-ssh-keys"][..], false)] {
        let bench = Bench::new();
        let made = init(&bench, option).succeeds().stderr;
        let warning = "nobody will be able to log in";
        assert_eq!(made.contains(warning), is_warned, "{option:?}: {made}");
    }
    let bench = Bench::new();
    init(&bench, &["--no-ssh-keys", "--ssh-keys", "token"]).fails_saying(&["cannot be used with"]);
}

/// There is no group yet whose `k3s_url` could be corrected.
#[test]
fn a_wrong_cluster_is_corrected_in_the_new_desk() {
    let bench = Bench::new();
    let made = init(&bench, &[]).succeeds().stderr;
    let next = "or correct `k3s_url` in desk/cluster.json before you add nodes";
    assert!(
        made.contains("the token was not checked: nothing answers"),
        "{made}"
    );
    assert!(made.contains(next), "{made}");
}

#[test]
fn a_desk_in_a_folder_that_is_not_there_is_refused_with_what_to_make() {
    let bench = Bench::new();
    fs::write(bench.path("token"), TOKEN).expect("a file");
    let desk = [
        "init",
        "none/desk",
        "--address",
        "192.0.2.2",
        "--k3s-token-file",
        "token",
    ];
    bench
        .gild(
            desk.into_iter()
                .chain(["--k3s-url", "https://k3s.invalid:6443"]),
        )
        .fails_saying(&[
            "cannot make none/desk: ",
            "next: make the folder in which it is to be",
        ]);
}

/// On a terminal, which script(1) makes, a person is asked.
#[test]
fn the_keys_of_who_may_log_in_are_asked_for_and_may_be_left_out() {
    let bench = Bench::new();
    let key =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1G9lFcGHWQJLmuIaDy6Zu7Oqj2S9cLzPkEDb6uC9Qm me@home";
    fs::write(bench.path("me.pub"), format!("{key}\n")).expect("a file");
    fs::write(bench.path("token"), TOKEN).expect("a file");
    let init = |desk: &str, answer: &str| {
        let gild = env!("CARGO_BIN_EXE_gild");
        let given = format!(
            "init {desk} --address 192.0.2.2 --k3s-url https://k3s.invalid:6443 --k3s-token-file token"
        );
        let script = format!("echo '{answer}' | HOME=$PWD script -qec '{gild} {given}' /dev/null");
        bench.shell(&script).succeeds().stdout
    };
    let said = init("open", "~/me.pub");
    assert!(said.contains("ssh public keys of who may log in"), "{said}");
    assert!(!said.contains("nobody will be able to log in"), "{said}");
    let keys = fs::read_to_string(bench.path("open/authorized_keys")).expect("keys");
    assert_eq!(keys, format!("{key}\n"));
    let said = init("shut", "");
    assert!(said.contains("nobody will be able to log in"), "{said}");
    assert!(!bench.path("shut/authorized_keys").exists());
}

/// Root may look into each folder, unless it gives that up.
#[test]
fn a_desk_of_another_user_is_not_taken_for_one_that_is_missing() {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    let mode = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(bench.path("desk"), mode).expect("its mode");
    };
    mode(0);
    let image = "image build --board rpi5 --without-k3s --desk desk";
    let ran = [
        "serve desk",
        "node list desk",
        "node add desk --mac d8:3a:dd:01:02:03 --name node-1",
        "node open desk --mac d8:3a:dd:01:02:03",
        "order new desk --action hold --node d8:3a:dd:01:02:03",
        "order list desk",
        image,
    ]
    .map(|command| {
        let gild = env!("CARGO_BIN_EXE_gild");
        let without = "setpriv --bounding-set -dac_override,-dac_read_search";
        let script =
            format!(r#"test "$(id -u)" != 0 || without="{without}"; $without {gild} {command}"#);
        bench.shell(&script)
    });
    mode(0o700);
    for ran in ran {
        assert!(!ran.stderr.contains("gild init"), "{}", ran.stderr);
        ran.fails_saying(&[
            "cannot read desk/desk.toml: Permission denied",
            "next: run this as the user who owns the folder of the desk",
        ]);
    }
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
    add(MAC, "Node_1", "").fails_saying(&[
        "would not become Node_1",
        "lower-case letters",
        "; next: give another name",
    ]);
    add(MAC, "localhost", "").fails_saying(&["every machine calls itself", "; next: give another"]);
    add("d8:3a", "node-1", "").fails_saying(&["is not a MAC address"]);
    for (label, words) in [
        (
            "rack b2",
            "`rack b2` is not a label; next: write it as name=value",
        ),
        (
            "=b2",
            "`=b2` is a label whose name Kubernetes does not take; next: give another",
        ),
    ] {
        add(MAC, "node-1", label).fails_saying(&[words]);
    }
    assert!(bench.names("desk/groups").is_empty());
    add("D8-3A-DD-01-02-03", "node-1", "").succeeds();
    let again = add(MAC, "node-1", "").succeeds().stderr;
    assert!(
        again.contains("node-1 is there already, as given"),
        "{again}"
    );
    add(MAC, "node-2", "").fails_saying(&["has this MAC address or this name already"]);
    add("d8:3a:dd:01:02:04", "node-1", "")
        .fails_saying(&["has this MAC address or this name already"]);
    assert_eq!(bench.names("desk/groups"), ["node-1.json"]);
}

#[test]
fn many_nodes_are_added_from_a_file_and_what_is_there_is_left() {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    let add = || bench.gild(["node", "add", "desk", "--from", "nodes.csv"]);
    let nodes = "# rack b2\nmac,name,label\n\nd8:3a:dd:01:02:03,node-1,rack=b2\nd8:3a:dd:01:02:04,node-2,\n";
    fs::write(bench.path("nodes.csv"), nodes).expect("a file");
    let made = add().succeeds();
    assert_eq!(
        made.stdout,
        "desk/groups/node-1.json\ndesk/groups/node-2.json\n"
    );
    let node_1 = fs::read_to_string(bench.path("desk/groups/node-1.json")).expect("a group");
    assert!(node_1.contains("rack=b2") && node_1.contains(TOKEN));
    // The file grows, and is given again.
    let more = format!("{nodes}d8:3a:dd:01:02:05,node-3,\n");
    fs::write(bench.path("nodes.csv"), more).expect("a file");
    let made = add().succeeds();
    assert_eq!(made.stdout, "desk/groups/node-3.json\n");
    assert!(made.stderr.contains("2 of 3 nodes are there already"));
    let again = [
        "node", "add", "desk", "--mac", MAC, "--name", "node-1", "--label", "rack=b2",
    ];
    assert_eq!(bench.gild(again).succeeds().stdout, "");
}

#[test]
fn a_file_with_a_line_that_is_wrong_adds_nothing_and_each_such_line_is_named() {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    bench
        .gild(["node", "add", "desk", "--mac", MAC, "--name", "node-1"])
        .succeeds();
    let nodes = "mac,name\n\
        d8:3a:dd:01:02:04,node-2\n\
        d8:3a:dd:01:02,node-3\n\
        d8:3a:dd:01:02:05,Node_4\n\
        D8:3A:DD:01:02:04,node-5\n\
        d8:3a:dd:01:02:06,node-2\n\
        d8:3a:dd:01:02:03,node-6\n\
        d8:3a:dd:01:02:07,node-1\n\
        d8:3a:dd:01:02:08\n\
        d8:3a:dd:01:02:09,../evil\n\
        d8:3a:dd:01:02:0a,taken\n";
    fs::write(bench.path("nodes.csv"), nodes).expect("a file");
    fs::write(bench.path("desk/groups/taken.json"), "half a gr").expect("a file");
    bench
        .gild(["node", "add", "desk", "--from", "nodes.csv"])
        .fails_saying(&[
            "line 3: `d8:3a:dd:01:02` is not a MAC address",
            "line 4: d8:3a:dd:01:02:05 would not become Node_4",
            "line 5: line 2 has this MAC address too",
            "line 6: line 2 has this name too",
            "line 7: desk/groups/node-1.json has this MAC address or this name already",
            "line 8: desk/groups/node-1.json has this MAC address or this name already",
            "line 9: it has 1 values",
            "line 10: d8:3a:dd:01:02:09 would not become ../evil",
            "line 11: desk/groups/taken.json is there already, and is not a group",
            "9 of 10 nodes in nodes.csv cannot be added, so nothing was written; next: ",
        ]);
    assert_eq!(bench.names("desk/groups"), ["node-1.json", "taken.json"]);
    let both = ["node", "add", "desk", "--from", "nodes.csv", "--mac", MAC];
    bench.gild(both).fails_saying(&["cannot be used with"]);
    bench
        .gild(["node", "add", "desk", "--mac", MAC])
        .fails_saying(&["--name"]);
}

#[test]
fn the_operator_lists_the_nodes_and_moves_their_doors_on_the_running_desk() {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    for (mac, name) in [(MAC, "node-1"), ("d8:3a:dd:01:02:04", "node-2")] {
        bench
            .gild(["node", "add", "desk", "--mac", mac, "--name", name])
            .succeeds();
    }
    let list = || bench.gild(["node", "list", "desk"]);
    let door = |action: &str, mac: &str| bench.gild(["node", action, "desk", "--mac", mac]);
    for ran in [list(), door("open", MAC)] {
        ran.fails_saying(&[
            "the desk does not answer at https://127.0.0.1:",
            "next: start it: gild serve desk",
        ]);
    }
    let serve = Serve::start(&bench);
    assert_eq!(serve.report(&bench, &flash(1, 10)), 204);
    let shown = list().succeeds().stdout;
    let lines: Vec<Vec<&str>> = shown
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["NAME", "MAC", "STATE", "DOOR", "HEARD"]);
    assert_eq!(
        lines[1][..4],
        ["node-1", MAC, "flashing", "open"],
        "{shown}"
    );
    assert!(shown.contains("flash 10 %"), "{shown}");
    assert_eq!(
        lines[2..],
        [["node-2", "d8:3a:dd:01:02:04", "expected", "closed", "never"]]
    );

    assert!(serve.metadata().contains(TOKEN));
    door("close", MAC).succeeds();
    assert!(!serve.metadata().contains(TOKEN));
    // Whoever asks for a board that has not spoken makes none of it.
    for path in ["/orders/d83add010204", "/metadata?mac=d8:3a:dd:01:02:04"] {
        serve.get(&serve.https(path), &[]);
    }
    let json = bench
        .gild(["node", "list", "desk", "--json"])
        .succeeds()
        .stdout;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["nodes"][0]["door"]["state"], "closed");
    assert_eq!(
        json["unheard"][0],
        json!({"name": "node-2", "mac": "d8:3a:dd:01:02:04"})
    );
    door("open", MAC).succeeds();
    assert!(serve.metadata().contains(TOKEN));
    for word in ["open", "close"] {
        door(word, "02:00:00:00:00:09").fails_saying(&[
            "no group says who 02:00:00:00:00:09 is, and no board has reported with this address",
            "next: gild node add desk --mac 02:00:00:00:00:09 --name ... first, or correct the MAC",
        ]);
    }
    assert!(!list().succeeds().stdout.contains("02:00:00:00:00:09"));
    let stranger = json!({"mac": "02:00:00:00:00:09", "boot": "x", "stage": "flash"});
    assert_eq!(serve.post("/report", &stranger, &[]).0, 204);
    let stranger = door("open", "02:00:00:00:00:09").succeeds().stderr;
    assert!(
        stranger.contains("no group says who 02:00:00:00:00:09 is, so there is no token"),
        "{stranger}"
    );

    // A node that has never spoken keeps its name, and nobody misses it.
    door("open", "d8:3a:dd:01:02:04").succeeds();
    let shown = list().succeeds().stdout;
    let expected = shown.lines().find(|line| line.starts_with("node-2"));
    let expected: Vec<_> = expected.expect("a line").split_whitespace().collect();
    assert_eq!(
        expected,
        ["node-2", "d8:3a:dd:01:02:04", "expected", "open", "never"]
    );
    door("open", "d8:3a").fails_saying(&["is not a MAC address", "next: write it as"]);

    // The login was changed, and the desk was not started again; and something else has the desk's address.
    fs::write(bench.path("desk/login"), "0d".repeat(32)).expect("written");
    door("open", MAC).fails_saying(&["does not take the login in desk", "next: "]);
    let other = Bench::new();
    init(&other, &[]).succeeds();
    fs::copy(bench.path("desk/desk.toml"), other.path("desk/desk.toml")).expect("copied");
    other
        .gild(["node", "open", "desk", "--mac", MAC])
        .fails_saying(&[
            "is not the desk of desk",
            "its certificate is refused",
            "next: ",
        ]);
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

#[test]
fn the_backup_of_the_page_has_every_secret_and_only_its_owner_reads_it() {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    fs::write(bench.path("desk/images/large"), "").expect("a file");
    let page = include_str!("../../../docs/desk.md");
    let mut lines = page.lines();
    let command = lines.find(|line| line.contains("--file desk-backup.tar.gz"));
    let command = command.expect("a command");
    bench.shell(&format!("umask 022\n{command}")).succeeds();
    let about = fs::metadata(bench.path("desk-backup.tar.gz")).expect("a copy");
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    let list = bench
        .shell("tar --list --file desk-backup.tar.gz")
        .succeeds();
    assert!(list.stdout.contains("desk/site.key\n"), "{}", list.stdout);
    assert!(list.stdout.contains("desk/journal/\n"), "{}", list.stdout);
    assert!(!list.stdout.contains("large"), "{}", list.stdout);
}

/// Real: the mounts that the unit asks for, in a mount namespace. systemd is not there: `mount` makes them.
#[test]
#[ignore = "needs root; `make test` runs it"]
fn a_desk_writes_to_no_more_than_its_unit_lets_it() {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    let unit = include_str!("../../../docs/examples/gild-serve.service");
    let paths = |key: &str| {
        let lines = unit.lines().filter_map(|line| line.strip_prefix(key));
        let names = lines.filter_map(|line| line.split_once("/var/lib/gild-desk/"));
        names.map(|(_, name)| name).collect::<Vec<_>>()
    };
    let (read, write) = (paths("ReadOnlyPaths="), paths("ReadWritePaths="));
    let mounts = |paths: &[&str], mode: &str| {
        let one = |path: &&str| {
            format!("mount --bind {path} {path}; mount -o remount,bind,{mode} {path}\n")
        };
        paths.iter().map(one).collect::<String>()
    };

    assert_eq!(read[0], "desk");
    let script = format!(
        "{}{}{}exec \"$@\"",
        mounts(&read[..1], "ro"),
        mounts(&write, "rw"),
        mounts(&read[1..], "ro")
    );
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "sh",
        "-ec",
        &script,
        "sh",
        env!("CARGO_BIN_EXE_gild"),
    ]);
    command.args(ARGUMENTS).current_dir(bench.path("."));
    // The certificate is for another name, so that it is made again.
    let before = bench.bytes("desk/tls/server.key");
    bench
        .shell("sed -i 's/^127.0.0.1$/127.0.0.2/' desk/tls/server.key")
        .succeeds();
    bench
        .gild(["node", "add", "desk", "--mac", MAC, "--name", "node-1"])
        .succeeds();
    let serve = Serve::of(&bench, command);
    assert_ne!(bench.bytes("desk/tls/server.key"), before);
    assert_eq!(serve.report(&bench, &flash(1, 10)), 204);
    assert!(serve.metadata().contains(TOKEN));
    let login = fs::read_to_string(bench.path("desk/login")).expect("a login");
    let login = format!("Bearer {}", login.trim());
    let wish = json!({"action": "hold", "nodes": [MAC]});
    let (status, said) = serve.post("/orders", &wish, &[("authorization", &login)]);
    assert_eq!(status, 201, "{said}");

    // Somebody has taken it over.
    let id = serve.child.id();
    let tries = |command: &str| {
        let inside = format!(
            "nsenter --mount --target {id} sh -c 'cd {} && {command}'",
            bench.path(".").display()
        );
        bench.shell(&inside)
    };
    tries("touch desk/journal/x desk/tls/x desk/orders/x").succeeds();
    for command in [
        "touch desk/order.pub",
        "touch desk/authorized_keys",
        "echo >>desk/gild.toml",
        "echo >>desk/site.pub",
        "echo >>desk/groups/node-1.json",
        "touch desk/images/rpi5",
        "mv desk/gild.toml desk/journal/",
        "mv desk other",
        "mv desk/tls desk/journal/",
        "rm -f desk/tls/ca.pem",
        "cp desk/login desk/tls/ca.pem",
        "mv desk/tls/x desk/tls/ca.pem",
        "cp desk/login desk/tls/ca.key",
    ] {
        let ran = tries(command);
        assert_ne!(ran.code, Some(0), "{command}");
    }
}

/// Clients that read nothing or say nothing, and pipes where files are meant.
#[test]
fn sigterm_ends_it_though_clients_neither_read_nor_speak() {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    let images = bench.path("desk/images/rpi5");
    fs::create_dir(&images).expect("a folder");
    let image = fs::File::create(images.join("image")).expect("a file");
    image.set_len(64 << 20).expect("its length");
    for pipe in ["desk/order.pub", "desk/images/rpi5/pipe"] {
        Ran::of(Command::new("mkfifo").arg(bench.path(pipe))).succeeds();
    }
    let mut serve = Serve::start(&bench);
    let open = |name| {
        let port = serve.port(name).parse::<u16>().expect("a port");
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connected")
    };
    let mut deaf = open("http");
    deaf.write_all(b"GET /images/rpi5/image HTTP/1.1\r\nHost: desk\r\n\r\n")
        .expect("sent");
    let mut waits = open("http");
    waits
        .write_all(b"GET /images/rpi5/pipe HTTP/1.1\r\nHost: desk\r\n\r\n")
        .expect("sent");
    let _silent = [open("https"), open("nfs"), open("http")];
    // The key of orders is a pipe, which is not read.
    assert_eq!(serve.rack()["nodes"], json!([]));
    let id = serve.child.id().to_string();
    Ran::of(Command::new("kill").arg(&id)).succeeds();
    assert!(serve.child.wait().expect("an end").success());
}

/// One address may not fill the memory: answers that nobody reads are made once and shared, and a client is dropped that takes nothing.
#[test]
fn answers_that_nobody_reads_cost_little() {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    let serve = Serve::start(&bench);
    let long = "x".repeat(400);
    for number in 0..100 {
        let finding = json!({"subject": "link", "level": "warning", "message": long});
        let report = json!({"kind": "progress", "mac": format!("02:00:00:00:00:{number:02x}"), "boot": "a", "sequence": 1,
            "stage": "flash", "message": long, "hardware": vec![finding; 16]});
        assert_eq!(serve.report(&bench, &report), 204);
    }
    let rack = serve.rack().to_string().len();
    assert!(rack > 500_000, "{rack}");
    let before = memory(&serve);
    let access = Access::new(Some(&serve.authority), None).expect("an authority");
    let client = access.client().pool_max_idle_per_host(0).build();
    let (client, url) = (client.expect("a client"), serve.https("/rack.json"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let grown = runtime.expect("a runtime").block_on(async {
        let mut unread = Vec::new();
        for _ in 0..200 {
            unread.push(
                client
                    .get(&url)
                    .send()
                    .await
                    .expect("the head of an answer"),
            );
        }
        memory(&serve).saturating_sub(before)
    });
    assert!(grown < 60 << 20, "{grown} for 200 answers of {rack} bytes");
}

/// Memory of the desk that is in use, bytes.
fn memory(serve: &Serve) -> usize {
    let path = format!("/proc/{}/status", serve.child.id());
    let status = fs::read_to_string(path).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.expect("a size").parse::<usize>().expect("a number") << 10
}
