use std::os::unix::fs::symlink;
use std::thread;

use gild_http_testkit::{Reply, Request, Server};
use gild_report::PROOF_HEADER;
use serde_json::Value;

use super::*;

const MAC: &str = "d8:3a:dd:01:02:03";

/// A node's root directory with one wired interface, and settings that name the given port of this machine.
fn node(port: Option<u16>) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    let write = |path: &str, content: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, content).expect("a file");
    };
    for (file, content) in [
        ("ifindex", "2"),
        ("type", "1"),
        ("address", MAC),
        ("carrier", "1"),
    ] {
        write(&format!("sys/class/net/eth0/{file}"), content);
    }
    fs::create_dir(root.path().join("sys/class/net/eth0/device")).expect("hardware");
    write(
        "usr/lib/gild/image-release",
        "GILD_BOARD=rpi5\nGILD_IMAGE_ID=rpi5-0123456789ab\n",
    );
    if let Some(port) = port {
        write(
            "etc/gild/first-boot.toml",
            &format!("matchbox = \"http://127.0.0.1:{port}\"\ndeadline_seconds = 5\n"),
        );
    }
    root
}

/// The port of a server that gives every request this reply.
fn server(reply: Reply) -> u16 {
    Server::start(move |_| reply.clone()).port()
}

/// The port of a server that names the node.
fn good_server() -> u16 {
    server(Reply::new(200, good_answer()))
}

fn good_answer() -> String {
    format!(
        "HOSTNAME=node-1\nK3S_URL=https://a:6443\nK3S_TOKEN=s3cret\nMAC={MAC}\nREQUEST_QUERY_MAC={MAC}\n"
    )
}

/// A port on which nobody listens and that no other test gets.
const CLOSED: u16 = 1;

fn meta_data(root: &Path) -> String {
    fs::read_to_string(root.join("var/lib/cloud/seed/nocloud/meta-data")).expect("a seed")
}

/// A file by which cloud-init notes a one-time step.
const STEP: &str = "sem/config_write_files";
const CONFIG: &str = "{\"server\": \"https://a:6443\", \"token\": \"s3cret\"}";

/// Makes this instance the node's and begins its steps, as cloud-init does.
fn take_on(root: &Path, instance: &str) {
    let link = root.join("var/lib/cloud/instance");
    let _ = fs::remove_file(&link);
    symlink(format!("/var/lib/cloud/instances/{instance}"), &link).expect("cloud-init's link");
    let step = step(root, instance);
    fs::create_dir_all(step.parent().expect("a directory")).expect("a directory");
    fs::write(step, "").expect("a step");
}

fn step(root: &Path, instance: &str) -> PathBuf {
    root.join("var/lib/cloud/instances")
        .join(instance)
        .join(STEP)
}

fn write_config(root: &Path, text: &str) {
    let path = root.join(K3S_CONFIG.trim_start_matches('/'));
    files::private_directory(path.parent().expect("a directory")).expect("a directory");
    files::write_private(&path, text).expect("a configuration");
}

const IDENTITY: &str = "d83add010203-rpi5-0123456789ab";
const FALLBACK: &str = "d83add010203-fallback";

#[test]
fn a_node_that_matchbox_knows_gets_its_identity_and_asks_no_more() {
    let root = node(Some(good_server()));
    run(root.path()).expect("an identity");
    assert!(meta_data(root.path()).contains(IDENTITY));
    fs::write(
        root.path().join("etc/gild/first-boot.toml"),
        format!("matchbox = \"http://127.0.0.1:{CLOSED}\"\ndeadline_seconds = 5\n"),
    )
    .expect("a Matchbox that is down");
    run(root.path()).expect("the identity that is there");
    assert!(meta_data(root.path()).contains(IDENTITY));
}

#[test]
fn the_address_in_the_group_counts_though_the_cable_is_in_another_socket() {
    let root = node(Some(good_server()));
    let interfaces = root.path().join("sys/class/net");
    fs::create_dir_all(interfaces.join("eth1/device")).expect("hardware");
    for (file, content) in [("ifindex", "3"), ("type", "1"), ("address", MAC)] {
        fs::write(interfaces.join("eth1").join(file), content).expect("a socket without a cable");
    }
    fs::write(interfaces.join("eth0/address"), "d8:3a:dd:0a:0b:0c").expect("another address");
    run(root.path()).expect("an identity");
    assert!(meta_data(root.path()).contains(IDENTITY));
}

#[test]
fn whatever_fails_a_fallback_is_left() {
    let another = good_answer().replace(
        &format!("REQUEST_QUERY_MAC={MAC}"),
        "REQUEST_QUERY_MAC=d8:3a:dd:01:02:04",
    );
    let wrong = good_answer().replace("https:", "ftp:/:");
    let elsewhere = Reply::new(302, "").with("Location", "http://127.0.0.2:1/");
    let cases = [
        (CLOSED, "onnection refused"),
        (server(Reply::new(404, "")), "does not know"),
        (server(Reply::new(500, "")), "answers 500"),
        (server(elsewhere), "another server"),
        (
            server(Reply::new(200, "x=".repeat(40 << 10))),
            "longer than",
        ),
        (
            server(Reply::new(200, good_answer()).cut_after(11)),
            "Matchbox",
        ),
        (server(Reply::new(200, another)), "another node"),
        (server(Reply::new(200, wrong)), "k3s_url"),
    ];
    // In parallel, because each waits for its deadline.
    thread::scope(|scope| {
        for (port, reason) in cases {
            scope.spawn(move || {
                let root = node(Some(port));
                let error = format!("{:#}", run(root.path()).expect_err(reason));
                assert_eq!(error.matches(reason).count(), 1, "{reason}: {error}");
                assert!(!error.contains("s3cret"), "{error}");
                assert!(meta_data(root.path()).contains(FALLBACK), "{reason}");
            });
        }
    });
}

#[test]
fn settings_that_cannot_be_read_leave_a_fallback() {
    let root = node(Some(CLOSED));
    fs::write(root.path().join("etc/gild/first-boot.toml"), "matchbox = 1").expect("bad settings");
    run(root.path()).expect_err("bad settings");
    assert!(meta_data(root.path()).contains(FALLBACK));
}

#[test]
fn without_a_matchbox_there_is_a_name_and_an_operator_s_seed_is_left_alone() {
    let root = node(None);
    run(root.path()).expect("a name");
    assert!(meta_data(root.path()).contains("k3s-010203"));
    assert!(!retry(root.path()).expect("nobody to ask"));
    let own = root.path().join("var/lib/cloud/seed/nocloud/meta-data");
    fs::write(&own, "instance-id: own\n").expect("an operator's seed");
    run(root.path()).expect("left alone");
    assert_eq!(meta_data(root.path()), "instance-id: own\n");
}

#[test]
fn an_identity_is_kept_when_matchbox_is_gone_but_not_on_another_board() {
    let root = node(Some(good_server()));
    run(root.path()).expect("an identity");
    fs::write(
        root.path().join("sys/class/net/eth0/address"),
        "d8:3a:dd:0a:0b:0c",
    )
    .expect("another board");
    fs::write(
        root.path().join("etc/gild/first-boot.toml"),
        format!("matchbox = \"http://127.0.0.1:{CLOSED}\"\ndeadline_seconds = 5\n"),
    )
    .expect("a Matchbox that is down");
    run(root.path()).expect_err("nobody there");
    assert!(meta_data(root.path()).contains("k3s-0a0b0c"));
}

#[test]
fn an_identity_is_kept_by_a_boot_that_sees_no_interface() {
    let root = node(Some(good_server()));
    run(root.path()).expect("an identity");
    take_on(root.path(), IDENTITY);
    write_config(root.path(), CONFIG);
    fs::remove_dir_all(root.path().join("sys/class/net/eth0")).expect("no driver");
    run(root.path()).expect("the identity that is there");
    assert!(meta_data(root.path()).contains(IDENTITY));
    assert!(!retry(root.path()).expect("nothing to do"));
}

#[test]
fn a_later_attempt_takes_the_identity_on_and_reboots_a_bounded_number_of_times() {
    let root = node(Some(CLOSED));
    run(root.path()).expect_err("nobody there");
    let link = root.path().join("var/lib/cloud/instance");
    take_on(root.path(), FALLBACK);
    let settings = format!("matchbox = \"http://127.0.0.1:{}\"\n", good_server());
    fs::write(root.path().join("etc/gild/first-boot.toml"), settings).expect("Matchbox is back");
    let fallback = Seed::fallback(Mac::parse(MAC));
    write_config(root.path(), CONFIG);
    for _ in 0..MOST_REBOOTS {
        assert!(retry(root.path()).expect("an identity"));
        assert!(meta_data(root.path()).contains(IDENTITY));
        assert!(
            !link.is_symlink(),
            "cloud-init would stay with the fallback"
        );
        take_on(root.path(), IDENTITY);
        assert!(!retry(root.path()).expect("done already"));
        // Something brings the fallback back.
        Place::below(root.path()).write(&fallback).expect("a seed");
    }
    let error = retry(root.path()).expect_err("no end");
    assert!(error.to_string().contains("after 3 reboots"), "{error}");
    assert!(meta_data(root.path()).contains(FALLBACK));
}

#[test]
fn an_identity_that_cloud_init_has_not_taken_on_is_worth_another_reboot() {
    let root = node(Some(good_server()));
    run(root.path()).expect("an identity");
    for _ in 0..MOST_REBOOTS {
        assert!(retry(root.path()).expect("a reboot"));
    }
    let error = retry(root.path()).expect_err("no end");
    assert!(error.to_string().contains("after 3 reboots"), "{error}");
}

#[test]
fn what_a_power_cut_left_behind_is_written_again() {
    let root = node(Some(good_server()));
    run(root.path()).expect("an identity");
    take_on(root.path(), IDENTITY);
    // The next boot finds no note that cloud-init finished.
    run(root.path()).expect("an identity");
    assert!(!step(root.path(), IDENTITY).exists(), "to be taken again");
    take_on(root.path(), IDENTITY);
    write_config(root.path(), CONFIG);
    assert!(!retry(root.path()).expect("all is well"));
    run(root.path()).expect("an identity");
    assert!(step(root.path(), IDENTITY).exists(), "it came to its end");
}

#[test]
fn an_identity_without_its_configuration_is_taken_on_again_a_bounded_number_of_times() {
    let root = node(Some(good_server()));
    run(root.path()).expect("an identity");
    for reboot in 0..MOST_REBOOTS {
        take_on(root.path(), IDENTITY);
        if reboot > 0 {
            write_config(root.path(), "");
        }
        assert!(retry(root.path()).expect("a reboot"));
        assert!(!step(root.path(), IDENTITY).exists(), "to be taken again");
    }
    take_on(root.path(), IDENTITY);
    let error = retry(root.path()).expect_err("no end");
    assert!(error.to_string().contains("after 3 reboots"), "{error}");
    assert!(step(root.path(), IDENTITY).exists(), "left as it is");
    write_config(root.path(), CONFIG);
    assert!(!retry(root.path()).expect("somebody wrote it"));
}

/// A desk that takes reports, and gives this answer to questions.
fn desk(status: u16, metadata: String) -> Server {
    Server::start(move |request| match request.method.as_str() {
        "POST" => Reply::new(204, ""),
        _ => Reply::new(status, metadata.as_str()),
    })
}

fn give_boot_id(root: &Path) {
    let directory = root.join("proc/sys/kernel/random");
    fs::create_dir_all(&directory).expect("a directory");
    fs::write(
        directory.join("boot_id"),
        "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
    )
    .expect("an id");
}

fn reported(request: &Request) -> Value {
    serde_json::from_str(&request.body).expect("a report")
}

#[test]
fn a_node_that_has_its_name_says_so_on_the_desk_and_shows_its_secret() {
    let desk = desk(200, good_answer());
    let root = node(Some(desk.port()));
    give_boot_id(root.path());
    run(root.path()).expect("an identity");
    let seen = desk.requests();
    let [question, report] = &seen[..] else {
        panic!("{seen:?}");
    };
    let proof = secret::proof(root.path()).expect("a secret");
    for request in [question, report] {
        assert_eq!(request.header(PROOF_HEADER), Some(proof.reveal()));
    }
    let found = reported(report);
    assert_eq!(found["stage"], "named");
    assert_eq!(found["hostname"], "node-1");
    assert!(!report.body.contains("s3cret"), "{}", report.body);
}

#[test]
fn a_node_without_an_identity_says_why_on_the_desk() {
    let desk = desk(404, String::new());
    let root = node(Some(desk.port()));
    give_boot_id(root.path());
    run(root.path()).expect_err("no group");
    let seen = desk.requests();
    let report = seen.last().expect("a report");
    let proof = secret::proof(root.path()).expect("a secret");
    assert_eq!(report.header(PROOF_HEADER), Some(proof.reveal()));
    let found = reported(report);
    assert_eq!(found["stage"], "named");
    assert_eq!(found["hostname"], "k3s-010203");
    let message = found["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("does not know d8:3a:dd:01:02:03"),
        "{message}"
    );
}

/// The seed was for another board or another image, or it is gone.
#[test]
fn a_node_shows_the_secret_that_it_made_at_first_when_it_asks_again() {
    let root = node(Some(good_server()));
    run(root.path()).expect("an identity");
    let proof = secret::proof(root.path()).expect("a secret");
    let asks_with_proof = |desk: &Server| {
        let seen = desk.requests();
        let questions = seen.iter().filter(|it| it.method == "GET");
        let proofs: Vec<_> = questions.map(|it| it.header(PROOF_HEADER)).collect();
        assert!(!proofs.is_empty() && proofs.iter().all(|it| *it == Some(proof.reveal())));
    };
    let release = root.path().join("usr/lib/gild/image-release");
    fs::write(
        release,
        "GILD_BOARD=rpi5\nGILD_IMAGE_ID=rpi5-ba9876543210\n",
    )
    .expect("another");
    let settings = |desk: &Server| {
        let text = format!("matchbox = \"{}\"\ndeadline_seconds = 5\n", desk.url());
        fs::write(root.path().join("etc/gild/first-boot.toml"), text).expect("a desk");
    };
    let without = desk(404, String::new());
    settings(&without);
    run(root.path()).expect_err("no group");
    asks_with_proof(&without);
    // The seed is the fallback at this point.
    let with = desk(200, good_answer());
    settings(&with);
    assert!(retry(root.path()).expect("an identity"));
    asks_with_proof(&with);
}
