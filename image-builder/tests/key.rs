//! `gild key`: keys that minisign can use, that only their owner can read, and that nothing overwrites.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::{Bench, Ran};

#[test]
fn a_new_key_is_its_owners_alone_and_never_overwritten() {
    let bench = Bench::new();
    let mode = |name| {
        fs::metadata(bench.path(name))
            .expect("there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("signing.key"), 0o600);
    let before = bench.bytes("signing.key");
    bench
        .gild(["key", "new", "--output", "signing"])
        .fails_saying(&["signing.key", "never overwritten", "next: "]);
    assert_eq!(bench.bytes("signing.key"), before);
    bench
        .gild(["key", "new", "--output", "nowhere/signing"])
        .fails_saying(&["nowhere/signing.key", "next: make the folder"]);
    // A public key in the way: no secret key is left without its half.
    fs::remove_file(bench.path("signing.key")).expect("removed");
    bench
        .gild(["key", "new", "--output", "signing"])
        .fails_saying(&["signing.pub", "never overwritten"]);
    assert!(!bench.path("signing.key").exists());
}

#[test]
fn new_says_that_the_key_is_not_encrypted_and_prints_the_line_for_the_card() {
    let bench = Bench::new();
    let ran = bench.gild(["key", "new", "--output", "second"]).succeeds();
    assert!(ran.stderr.contains("NOT encrypted"), "{}", ran.stderr);
    for file in ["second.pub", "second.key"] {
        assert_eq!(
            bench.gild(["key", "show", file]).succeeds().stdout,
            ran.stdout,
            "{file}"
        );
    }
    bench
        .gild(["key", "show", "nowhere"])
        .fails_saying(&["the key nowhere is not there; next: "]);
}

#[test]
fn minisign_signs_with_our_key() {
    let bench = Bench::new();
    fs::write(bench.path("file"), "bytes").expect("written");
    bench
        .tool("minisign", &["-S", "-W", "-s", "signing.key", "-m", "file"])
        .succeeds();
    bench
        .tool("minisign", &["-V", "-p", "signing.pub", "-m", "file"])
        .succeeds();
}

#[test]
fn an_encrypted_key_of_minisign_takes_its_password_from_the_environment() {
    let bench = Bench::with_disk();
    bench
        .shell("printf 'secret\\nsecret\\n' | minisign -G -p theirs.pub -s theirs.key")
        .succeeds();
    let pack = |password: Option<&str>| {
        let mut command: Command = bench.command();
        command.args([
            "image",
            "pack",
            "disk.img",
            "--board",
            "rpi5",
            "--key",
            "theirs.key",
            "--output",
            "out",
        ]);
        if let Some(password) = password {
            command.env("GILD_KEY_PASSWORD", password);
        }
        Ran::of(&mut command)
    };
    pack(None)
        .fails_saying(&["theirs.key is encrypted; next: put its password into GILD_KEY_PASSWORD"]);
    pack(Some("wrong")).fails_saying(&["theirs.key", "Wrong password"]);
    pack(Some("secret")).succeeds();
    bench
        .tool(
            "minisign",
            &["-V", "-p", "theirs.pub", "-m", "out/rpi5/golden.json"],
        )
        .succeeds();
    bench
        .gild(["image", "verify", "out", "--key", "theirs.pub"])
        .succeeds();
}

#[test]
fn minisign_s_own_keys_without_a_password_sign_and_damaged_ones_do_not() {
    let bench = Bench::with_disk();
    bench
        .shell("minisign -G -W -p theirs.pub -s theirs.key > out.txt")
        .succeeds();
    bench.pack(&["--key", "theirs.key"]).succeeds();
    bench
        .gild(["image", "verify", "out", "--key", "theirs.pub"])
        .succeeds();
    let shown = bench.gild(["key", "show", "theirs.key"]).succeeds().stdout;
    // As an editor of another system saves it.
    let mut text = "\u{feff}".as_bytes().to_vec();
    text.extend(bench.bytes("theirs.pub"));
    fs::write(bench.path("marked.pub"), text).expect("written");
    let public = bench.gild(["key", "show", "marked.pub"]).succeeds().stdout;
    assert_eq!(shown, public);

    let text = String::from_utf8(bench.bytes("theirs.key")).expect("a text");
    let line = text.lines().last().expect("the key").to_owned();
    let at = 90;
    let other = if &line[at..=at] == "A" { "B" } else { "A" };
    let damaged = format!("{}{other}{}", &line[..at], &line[at + 1..]);
    fs::write(bench.path("damaged.key"), text.replace(&line, &damaged)).expect("written");
    bench
        .pack(&["--key", "damaged.key"])
        .fails_saying(&["damaged.key is damaged", "next: "]);
}

#[test]
fn output_that_cannot_be_written_is_an_error_and_a_closed_pipe_is_none() {
    let bench = Bench::new();
    let gild = env!("CARGO_BIN_EXE_gild");
    for command in ["key show signing.pub", "--help", "--version"] {
        let ran = bench.shell(&format!("{gild} {command} > /dev/full"));
        assert_eq!(ran.code, Some(10), "{ran:?}");
        ran.fails_saying(&["standard output", "No space left on device", "next: "]);
        let ran = bench.shell(&format!(
            "{{ sleep 0.1; {gild} {command}; echo \"ended with $?\" >&2; }} | true"
        ));
        assert_eq!(ran.stderr, "ended with 0\n", "{command}");
    }
    let ran = bench.shell(&format!("{gild} key show none 2> /dev/full"));
    assert_eq!(ran.code, Some(10), "{ran:?}");
}
