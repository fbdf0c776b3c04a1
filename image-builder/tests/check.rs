//! `gild check` against web servers of this process: servers of images, and one in Matchbox' place.
//!
//! Real: the images and signatures (`gild image pack`), the program. Simulated: the web servers, whose answers the test makes, and
//! Matchbox' answers. NFS, the stand-in with Matchbox' rules and a cluster are in the folder `tests`.

mod common;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use common::{Bench, Ran};
use gild_http_testkit::{Reply, Request, Server};
use serde_json::Value;

const MAC: &str = "2c:cf:67:00:00:01";
const OTHER_MAC: &str = "2c:cf:67:00:00:02";

/// A folder with a key, an image of today in `out`, and a disk to make more of.
fn bench() -> Bench {
    static MADE: OnceLock<Vec<u8>> = OnceLock::new();
    Bench::like(&MADE, || {
        let bench = Bench::with_disk();
        pack(&bench, "out", "one", "1");
        bench
    })
}

fn pack(bench: &Bench, folder: &str, id: &str, counter: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a clock").as_secs().to_string();
    let more = [
        "--output",
        folder,
        "--id",
        id,
        "--rollback-counter",
        counter,
        "--build-time",
        &now,
        "--proves-itself",
    ];
    bench.pack(&more).succeeds();
}

/// The files of a folder, as a good server gives them, with the time of its clock.
fn serve(folder: &Path, clock: &'static str) -> Server {
    let folder = folder.to_owned();
    Server::start(move |request: &Request| {
        let path = request.target.split('?').next().unwrap_or_default();
        let reply = match fs::read(folder.join(path.trim_start_matches('/'))) {
            Ok(bytes) => Reply::file(request, &bytes),
            Err(_) => Reply::new(404, ""),
        };
        let clock = match clock {
            NOW => httpdate(SystemTime::now()),
            other => other.to_owned(),
        };
        reply.with("Date", &clock)
    })
}

const NOW: &str = "now";

fn httpdate(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}

/// In Matchbox' place: it knows one node, and gives this about it.
fn matchbox(metadata: &'static str) -> Server {
    Server::start(move |request: &Request| {
        let mac = request.target.split("mac=").nth(1).unwrap_or_default();
        if mac != MAC {
            return Reply::new(404, "404 page not found\n");
        }
        let body = format!("REQUEST_QUERY_MAC={mac}\nMAC={mac}\n{metadata}\n");
        Reply::new(200, body).with("Date", &httpdate(SystemTime::now()))
    })
}

fn configure(bench: &Bench, lines: &str) {
    fs::write(bench.path("gild.toml"), lines).expect("the configuration");
}

fn check(bench: &Bench, more: &[&str]) -> Ran {
    let args = ["check", "gild.toml", "--public-key", "signing.pub"];
    bench.gild(args.iter().chain(more).copied())
}

/// The lines of this level.
fn lines<'a>(ran: &'a Ran, level: &str) -> Vec<&'a str> {
    let of_level = |line: &&str| line.starts_with(level);
    ran.stdout.lines().filter(of_level).collect()
}

/// It ends with 1, and one line says error, with these words and what to do.
#[track_caller]
fn one_error(ran: &Ran, words: &[&str]) {
    let errors = lines(ran, "error");
    assert_eq!((ran.code, errors.len()), (Some(1), 1), "{ran:?}");
    for words in words.iter().chain(&["; next: "]) {
        assert!(errors[0].contains(words), "{words:?}: {}", errors[0]);
    }
}

#[test]
fn what_is_in_order_ends_with_0_and_says_so_for_each_part() {
    let bench = bench();
    let server = serve(&bench.path("out"), NOW);
    configure(&bench, &format!("server = \"{}\"\n", server.url()));
    let ran = check(&bench, &["--board", "rpi5"]).succeeds();
    assert_eq!(lines(&ran, "error"), Vec::<&str>::new());
    for words in [
        "gild.toml: a node can use it",
        "rpi5: image one of ",
        "signed with `public_key`; its first chunk is good",
        "its clock agrees with this machine's",
    ] {
        let ok = lines(&ran, "ok");
        assert!(
            ok.iter().any(|line| line.contains(words)),
            "{words}: {ran:?}"
        );
    }
    // The server is this machine, and no Matchbox was named.
    let warnings = lines(&ran, "warning");
    assert_eq!(warnings.len(), 1, "{ran:?}");
    assert!(warnings[0].contains("leads a node to itself"), "{ran:?}");
    assert_eq!(lines(&ran, "not checked").len(), 2, "{ran:?}");
}

#[test]
fn the_options_alone_are_enough() {
    let bench = bench();
    let server = serve(&bench.path("out"), NOW);
    let url = server.url();
    let args = ["check", "--server", &url, "--public-key", "signing.pub"];
    let ran = bench.gild(args).succeeds();
    let warned = lines(&ran, "warning");
    let words = "no image for this board on any server";
    assert!(warned.iter().any(|line| line.contains(words)), "{ran:?}");
    bench
        .gild(["check"])
        .fails_saying(&["there is nothing to check; next: give a gild.toml"]);
}

#[test]
fn each_line_is_an_object_of_the_document() {
    let bench = bench();
    let server = serve(&bench.path("out"), NOW);
    configure(&bench, &format!("server = \"{}\"\n", server.url()));
    let ran = check(&bench, &["--json"]).succeeds();
    let document: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let findings = document.as_array().expect("an array");
    assert!(findings.len() > 5, "{document}");
    for finding in findings {
        let keys: Vec<_> = finding.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["check", "level", "message", "next", "subject"]);
        let is_ok = finding["level"] == "ok";
        assert_eq!(finding["next"].is_null(), is_ok, "{finding}");
    }
}

#[test]
fn what_a_node_refuses_is_an_error_with_the_node_s_words() {
    let bench = bench();
    let server = serve(&bench.path("out"), NOW);
    let url = server.url();
    let address = format!("server = \"{url}\"\n");

    configure(&bench, &format!("{address}min_rollback = 2\n"));
    one_error(
        &check(&bench, &["--board", "rpi5"]),
        &["image one has rollback counter 1, and the card asks for at least 2"],
    );

    configure(&bench, &address);
    one_error(
        &check(&bench, &["--board", "rock5b"]),
        &["rock5b: ", "it is not there (404)"],
    );

    bench.gild(["key", "new", "--output", "other"]).succeeds();
    let args = ["check", "gild.toml", "--public-key", "other.pub"];
    let ran = bench.gild(args.into_iter().chain(["--board", "rpi5"]));
    one_error(&ran, &["the manifest is signed with another key than"]);

    let stored = "out/rpi5/one.img.zst";
    let whole = bench.bytes(stored);
    fs::write(bench.path(stored), &whole[..whole.len() - 1]).expect("a shorter file");
    one_error(
        &check(&bench, &["--board", "rpi5"]),
        &["one.img.zst", "bytes, and the manifest says"],
    );

    let manifest: Value =
        serde_json::from_slice(&bench.bytes("out/rpi5/golden.json")).expect("a manifest");
    let chunks = manifest["chunks"].as_array().expect("chunks").iter();
    let first = chunks
        .filter(|chunk| chunk["hole"] != true)
        .find_map(|chunk| chunk["stored_offset"].as_u64())
        .expect("a chunk");
    fs::write(bench.path(stored), &whole).expect("the file again");
    bench.flip(stored, first + 20);
    one_error(&check(&bench, &["--board", "rpi5"]), &["the chunk at byte"]);
}

#[test]
fn each_server_is_asked_alone_and_a_stale_replica_is_a_warning_with_both_ids() {
    let bench = bench();
    pack(&bench, "newer", "two", "2");
    let (old, new) = (
        serve(&bench.path("out"), NOW),
        serve(&bench.path("newer"), NOW),
    );
    let list = format!("server = [\"{}\", \"{}\"]\n", old.url(), new.url());
    configure(&bench, &list);
    let ran = check(&bench, &["--board", "rpi5"]).succeeds();
    let expected = format!(
        "rpi5: {}/ has image one, and {}/ has image two; next: ",
        old.url(),
        new.url()
    );
    let warnings = lines(&ran, "warning");
    assert!(
        warnings.iter().any(|line| line.contains(&expected)),
        "{ran:?}"
    );
    // A node would not notice that the first one is gone.
    old.set_down(true);
    let ran = check(&bench, &["--board", "rpi5"]);
    one_error(&ran, &[&old.url()]);
    assert!(ran.stdout.contains("image two of"), "{ran:?}");
}

#[test]
fn a_clock_that_is_off_and_an_order_are_warnings() {
    let bench = bench();
    let server = serve(&bench.path("out"), "Sun, 06 Nov 1994 08:49:37 GMT");
    let order = "[order]\nid = \"of-today\"\nnodes = [\"all\"]\n";
    configure(&bench, &format!("server = \"{}\"\n{order}", server.url()));
    let ran = check(&bench, &["--board", "rpi5"]).succeeds();
    for words in ["s behind this machine's", "of-today"] {
        let warned = lines(&ran, "warning");
        assert!(warned.iter().any(|line| line.contains(words)), "{ran:?}");
    }
}

#[test]
fn what_cannot_be_read_as_a_configuration_is_an_error_in_the_agent_s_words() {
    let bench = bench();
    configure(
        &bench,
        "server = \"nfs://10.0.0.1/gild\"\nmatchbx = \"x\"\n",
    );
    one_error(&check(&bench, &[]), &["did you mean `matchbox`?"]);
    fs::write(bench.path("noise"), [0; 4096]).expect("a file");
    bench
        .gild(["check", "noise"])
        .fails_saying(&["neither a gild.toml nor the card", "; next: "]);
    // As a shell of Windows writes it.
    let text = "server = \"nfs://10.0.0.1/gild\"\n".encode_utf16();
    let bytes = text.flat_map(u16::to_le_bytes);
    let bytes: Vec<u8> = [0xff, 0xfe].into_iter().chain(bytes).collect();
    fs::write(bench.path("gild.toml"), bytes).expect("a file");
    check(&bench, &[]).fails_saying(&["gild.toml is text in UTF-16; next: save it"]);
}

#[test]
fn a_node_is_judged_by_its_group_and_a_stranger_gets_nothing() {
    let bench = bench();
    let url = "--matchbox";
    let good = matchbox(
        "HOSTNAME=node-1\nK3S_URL=https://k3s.invalid:6443\nK3S_TOKEN=abcdef.s3cret7890123456",
    );
    let ran = bench.gild(["check", url, &good.url(), "--mac", MAC]);
    let ok = lines(&ran, "ok").join("\n");
    assert!(ok.contains("its own group: node-1"), "{ran:?}");
    assert!(ok.contains("gives nothing to a machine"), "{ran:?}");
    // No such name: the cluster is the one thing that is wrong.
    one_error(&ran, &["nothing answers at https://k3s.invalid:6443"]);
    let clear = "go over the network in clear text; next: ";
    assert!(ran.stdout.contains(clear), "{ran:?}");
    assert!(!(ran.stdout + &ran.stderr).contains("s3cret"));

    let ran = bench.gild(["check", url, &good.url(), "--mac", OTHER_MAC]);
    one_error(&ran, &["call itself k3s-000002 and join no cluster"]);

    let bad = matchbox("HOSTNAME=Node_1\nK3S_TOKEN=s3cret");
    let ran = bench.gild(["check", url, &bad.url(), "--mac", MAC]);
    one_error(&ran, &["it must be 1 to 63 lower-case letters"]);
}

#[test]
fn no_secret_is_in_any_line() {
    let bench = bench();
    let web = serve(&bench.path("out"), NOW);
    // It does not speak TLS: what is said of the failure must not have the header or the query in it, either.
    let address = format!("127.0.0.1:{}", web.port());
    let knows = matchbox("HOSTNAME=a\nK3S_URL=https://k3s.invalid:6443\nK3S_TOKEN=t0ken-s3cret");
    let port = knows.port();
    let lines = format!(
        "server = \"https://{address}/gild?signature=s3cret\"\nmatchbox = \"http://me:s3cret@127.0.0.1:{port}\"\n\
         status_url = \"http://me:s3cret@status.lan/?token=s3cret\"\n[http]\nheader = \"Authorization: Bearer s3cret\"\n"
    );
    for lines in [
        lines.clone(),
        lines.replace("https://127", "http://127"),
        lines.replace("https://127", "https://me:s3cret@127"),
        lines.replace("?signature", "#"),
        format!("{lines}header2 = s3cret"),
        format!("# K10{}::server:s3cret\n{lines}", "0f".repeat(32)),
    ] {
        configure(&bench, &lines);
        for more in [&["--mac", MAC][..], &["--mac", MAC, "--json"]] {
            let ran = check(&bench, more);
            assert_eq!(ran.code, Some(1), "{ran:?}");
            let said = ran.stdout + &ran.stderr;
            assert!(said.contains("error"), "{said}");
            assert!(!said.contains("s3cret"), "{lines}\n{said}");
            assert!(!said.contains("panicked"), "{said}");
        }
    }
    for (option, address) in [
        ("--matchbox", "ftp://me:s3cret@mb.lan"),
        ("--k3s-url", "https://me:s3cret@k3s.lan:6443"),
        ("--k3s-url", "s3cret"),
    ] {
        let ran = check(&bench, &[option, address]);
        let ran = ran.fails_saying(&[option, "; next: "]);
        assert!(!(ran.stdout + &ran.stderr).contains("s3cret"), "{option}");
    }
    let open = format!("http://me:s3cret@127.0.0.1:{port}/?token=s3cret");
    let ran = bench.gild(["check", "--matchbox", &open, "--mac", MAC]);
    assert!(ran.stdout.contains("its own group"), "{ran:?}");
    assert!(!(ran.stdout + &ran.stderr).contains("s3cret"));
    assert!(knows.requests().len() > 2, "Matchbox was asked");
}

#[test]
fn a_server_that_hangs_ends_with_an_error_and_the_others_are_asked_meanwhile() {
    let bench = bench();
    // The kernel takes the connections, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("its address").port();
    let web = serve(&bench.path("out"), NOW);
    let lines = format!(
        "server = [\"http://127.0.0.1:{port}/\", \"nfs://127.0.0.1:{port}/gild\", \"{}\"]\n\
         answer_seconds = 5\nmatchbox = \"http://127.0.0.1:{port}\"\n",
        web.url()
    );
    configure(&bench, &lines);
    let begun = Instant::now();
    let ran = check(&bench, &["--mac", MAC, "--board", "rpi5"]);
    let took = begun.elapsed().as_secs();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let errors = crate::lines(&ran, "error");
    assert_eq!(errors.len(), 3, "{ran:?}");
    assert!(ran.stdout.contains("image one of"), "{ran:?}");
    // The slowest of them has 20 seconds, and they are asked at once.
    assert!(took < 45, "it took {took} s");
}
