//! The Makefile refuses a wrong value before it installs, compiles or registers anything. `toolchain/setup` says which of its parts failed.
//!
//! Real: the Makefile, the boards' folders, `toolchain/install --look`, `toolchain/compiling`, and `toolchain/setup` by itself. Stand-ins: the programs of
//! `toolchain/` that these start, and cargo. A stand-in only says that it was started.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use gild_tests::workspace;
use tempfile::TempDir;

/// What a stand-in says.
const STARTED: &str = "started:";
/// Of `abc`.
const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

struct Checkout(TempDir);

impl Checkout {
    fn new() -> Self {
        let checkout = Self(TempDir::new().expect("a folder"));
        let root = workspace::root().canonicalize().expect("the checkout");
        for name in ["Makefile", "boards"] {
            symlink(root.join(name), checkout.path(name)).expect("a link");
        }
        for folder in ["toolchain", "bin"] {
            fs::create_dir(checkout.path(folder)).expect("a folder");
        }
        for program in ["toolchain/setup", "toolchain/arm64-programs", "bin/cargo"] {
            checkout.script(program, &format!("echo '{STARTED} {program}'"));
        }
        for program in ["toolchain/install", "toolchain/compiling"] {
            symlink(root.join(program), checkout.path(program)).expect("a link");
        }
        for name in ["k3s", "images.tar", "gild.toml", "site.key", "id.pub"] {
            checkout.write(name, "abc");
        }
        checkout
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    fn script(&self, name: &str, text: &str) {
        self.write(name, &format!("#!/bin/sh\n{text}\n"));
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path(name), mode).expect("a mode");
    }

    /// What `make` prints, and whether it succeeded. With four jobs the order must be the same.
    fn make(&self, words: &str) -> (String, bool) {
        self.make_with(&words.split_whitespace().collect::<Vec<_>>())
    }

    fn make_with(&self, words: &[&str]) -> (String, bool) {
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("make")
            .args(["--jobs=4", "--no-print-directory"])
            .args(words)
            .current_dir(self.0.path())
            .env_clear()
            .env("HOME", self.0.path())
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .output()
            .expect("make");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).expect("text");
        (said, output.status.success())
    }

    #[track_caller]
    fn refuses(&self, words: &str, expected: &str) {
        let (said, is_well) = self.make(words);
        assert!(
            !is_well && said.contains(expected) && said.contains("; next: "),
            "make {words}: {said}"
        );
        assert!(!said.contains(STARTED), "make {words} acted first: {said}");
    }
}

#[test]
fn a_wrong_value_is_refused_before_anything_is_installed_or_compiled() {
    let checkout = Checkout::new();
    for (words, expected) in [
        ("demo CHAIN=ful", "\"ful\" is not a chain"),
        ("demo BOARD=rpi6", "\"rpi6\" is not a board"),
        ("demo FAULT=fire", "\"fire\" is not a fault"),
        ("demo FAULT=cable CHAIN=full", "FAULT=cable beside CHAIN="),
        ("demo CHAIN=full BOARD=rpi6", "\"rpi6\" is not a board"),
        ("test-image BOARD=rpi6", "\"rpi6\" is not a board"),
        ("test-image BAD_RELEASE=rot", "\"rot\" is not a bad release"),
        ("card CONFIG=none.toml", "\"none.toml\" is not there"),
        ("card CONFIG=boards", "\"boards\" is a folder"),
        ("card PUBLIC_KEY=none.pub", "\"none.pub\" is not there"),
        ("card CARD=none/card.img", "\"none/card.img\" is not there"),
        ("fuzz TARGET=none", "\"none\" is not a target"),
        ("dist ARCH=x86_64", "\"x86_64\" is not an architecture"),
        ("dist KEY=none.key", "\"none.key\" is not there"),
        ("bench MODEL=rpi6", "\"rpi6\" is not a model"),
        ("bench BESIDE=none", "\"none\" is not a program"),
        ("build-and-copy DEST=none", "\"none\" is not a folder"),
        (
            "build-and-copy DEST=. KEY=site.key",
            "no public key beside \"site.key\"",
        ),
        (
            "build-and-copy DEST=. KEY=k3s",
            "no public key beside \"k3s\"",
        ),
        ("install PREFIX=gild.toml/x", "you may not write to"),
    ] {
        checkout.refuses(words, expected);
    }
}

#[test]
fn a_file_of_k3s_that_is_not_the_digest_s_is_refused_before_this_machine_is_changed() {
    let checkout = Checkout::new();
    let image = "image BOARD=rpi5 WITHOUT_MATCHBOX=1 K3S=k3s";
    let other = SHA256.replace('b', "c");
    checkout.refuses(
        &format!("{image} K3S_SHA256={other}"),
        "\"k3s\" has another digest than K3S_SHA256 says",
    );
    let image = format!("{image} K3S_SHA256={SHA256} K3S_AIRGAP_IMAGES=images.tar");
    checkout.refuses(
        &format!("{image} K3S_AIRGAP_IMAGES_SHA256={other}"),
        "\"images.tar\" has another digest than K3S_AIRGAP_IMAGES_SHA256 says",
    );
    for digest in [SHA256, &SHA256.to_uppercase()] {
        let (said, _) = checkout.make(&format!("{image} K3S_AIRGAP_IMAGES_SHA256={digest}"));
        assert!(said.contains("started: toolchain/arm64-programs"), "{said}");
    }
}

#[test]
fn values_that_exclude_each_other_are_refused_before_this_machine_is_changed() {
    let checkout = Checkout::new();
    let image = "image BOARD=rpi5 WITHOUT_K3S=1 WITHOUT_MATCHBOX=1";
    for (words, expected) in [
        ("K3S=k3s", "beside files of k3s"),
        ("MATCHBOX=http://a", "beside MATCHBOX="),
        ("K3S_URL=https://a:6443", "beside MATCHBOX="),
    ] {
        checkout.refuses(&format!("{image} {words}"), expected);
    }
}

#[test]
fn right_values_are_taken() {
    let checkout = Checkout::new();
    let demo = checkout.make("demo BOARD=rpi5");
    let card = checkout.make("card PUBLIC_KEY=id.pub CARD=card.img");
    for (said, last) in [(demo.0, "bin/cargo"), (card.0, "bin/cargo")] {
        let setup = said.find("started: toolchain/setup");
        let last = said.rfind(&format!("{STARTED} {last}"));
        assert!(setup.is_some() && setup < last, "{said}");
    }
    assert!(checkout.make("demo").1);
    assert!(checkout.make("demo FAULT=bad-disk").1);
    assert!(checkout.make_with(&["demo", "BOARD=rpi5 rock5b"]).1);
}

#[test]
fn an_installation_says_what_it_compiles() {
    let checkout = Checkout::new();
    let (said, _) = checkout.make("install PREFIX=there");
    for part in [
        "install: compiling gild, ",
        "gild: compiling gild's own programs",
        "agent: compiling the boards' agent",
        "first-boot: compiling the boards' programs",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn what_a_part_of_the_setup_says_has_the_name_of_that_part() {
    let checkout = Checkout::new();
    let setup = workspace::root().join("toolchain/setup");
    fs::copy(setup, checkout.path("toolchain/setup")).expect("a copy");
    // There is nothing to install.
    checkout.write("toolchain/packages", "");
    for part in ["rust", "fetch-kernel", "e2fsprogs"] {
        checkout.script(&format!("toolchain/{part}"), "");
    }
    let run = |venv: &str| {
        checkout.script("toolchain/venv", venv);
        checkout.script("toolchain/libblkid", "echo 'libblkid: building' >&2");
        let output = Command::new(checkout.path("toolchain/setup"))
            .arg("card")
            .output()
            .expect("setup");
        let said = String::from_utf8(output.stderr).expect("text");
        (said, output.status.success())
    };
    let (said, is_well) = run("echo 'ERROR: No matching distribution' >&2; exit 1");
    assert!(
        !is_well
            && said.contains("venv: ERROR: No matching distribution\n")
            && said.ends_with("in target/setup/venv.log, and run the same make again\n")
            && !said.contains("libblkid"),
        "{said}"
    );
    let log = fs::read_to_string(checkout.path("target/setup/venv.log"));
    assert_eq!(log.expect("a log"), "ERROR: No matching distribution\n");
    let (said, is_well) = run("echo 'venv: installing' >&2");
    assert!(is_well, "{said}");
    assert_eq!(said, "venv: installing\nlibblkid: building\n");
}

#[test]
fn the_demo_s_programs_are_compiled_beside_the_setup_and_the_boards_after_their_libblkid() {
    let checkout = Checkout::new();
    let setup = workspace::root().join("toolchain/setup");
    fs::copy(setup, checkout.path("toolchain/setup")).expect("a copy");
    checkout.write("toolchain/packages", "");
    for part in ["rust", "venv", "fetch-kernel", "e2fsprogs", "flash-modules"] {
        checkout.script(&format!("toolchain/{part}"), "");
    }
    let pipe = checkout.path("pipe").display().to_string();
    let is_made = Command::new("mkfifo").arg(&pipe).status();
    assert!(is_made.expect("mkfifo").success());
    // Each waits for the other one. The time only ends a test that hangs.
    let meet =
        |other: &str| format!("timeout 60 sh -c '{other} \"{pipe}\"' && echo \"${{0##*/}}\"");
    checkout.script("toolchain/demo-programs", &meet("cat <"));
    // Programs that are started too early have the time to look.
    let libblkid = format!("{}; sleep 1", meet("echo >"));
    checkout.script("toolchain/libblkid", &libblkid);
    checkout.script("toolchain/board-programs", "ls target/setup/libblkid.done");
    let output = Command::new(checkout.path("toolchain/setup"))
        .args(["image", "card", "laboratory", "demo"])
        .current_dir(checkout.path(""))
        .output()
        .expect("setup");
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{said}");
    assert!(said.contains("demo-programs: demo-programs\n"), "{said}");
    assert!(
        said.ends_with("board-programs: target/setup/libblkid.done\n"),
        "{said}"
    );
}
