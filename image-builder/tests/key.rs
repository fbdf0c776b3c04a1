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
