//! `gild` outside its checkout: the program and its folder `share/gild`, in a folder of their own.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::Ran;
use crate::desk::Desk;

/// A copy of `gild` in `bin` of an empty folder, run there.
fn installed(desk: &Desk, arguments: &[&str]) -> Ran {
    let program = desk.bench.path("bin/gild");
    fs::create_dir_all(desk.bench.path("bin")).expect("a folder");
    // Not by this process: a program that another test starts meanwhile would have the file open for writing, too.
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_gild"))
        .arg(&program)
        .status();
    assert!(copied.expect("cp").success());
    fs::create_dir_all(desk.bench.path("work")).expect("a folder");
    Ran::of(
        Command::new(program)
            .args(arguments)
            .current_dir(desk.bench.path("work"))
            .env("HOME", desk.bench.path("home"))
            .env_remove("XDG_CACHE_HOME")
            .env_remove("GILD_SHARE"),
    )
}

const CARD: [&str; 8] = [
    "card",
    "build",
    "--config",
    "../gild.toml",
    "--public-key",
    "../signing.pub",
    "--out",
    "card.img",
];

const IMAGE: [&str; 10] = [
    "image",
    "build",
    "--board",
    "rpi5",
    "--key",
    "../signing.key",
    "--output",
    "out",
    "--without-k3s",
    "--without-matchbox",
];

#[test]
fn without_its_files_it_says_where_it_looked_and_what_to_give() {
    let desk = Desk::new();
    for (arguments, option) in [(&CARD[..], "--kernel DIR"), (&IMAGE, "--recipe FILE")] {
        installed(&desk, arguments).fails_saying(&[
            "cannot be found",
            "share/gild",
            "GILD_SHARE",
            option,
        ]);
    }
}

#[test]
fn the_folder_beside_it_is_enough_for_a_card() {
    let desk = Desk::new();
    desk.bench
        .shell("mkdir -p share/gild; mv kernel share/gild/kernel; mv agent share/gild/gild-agent")
        .succeeds();
    installed(&desk, &CARD).succeeds();
    // The same card as in a checkout.
    desk.bench
        .shell("mv share/gild/kernel kernel; cp share/gild/gild-agent agent")
        .succeeds();
    desk.build(&["--public-key", "signing.pub"]).succeeds();
    desk.bench.shell("cmp card.img work/card.img").succeeds();
    installed(&desk, &CARD).fails_saying(&["share/gild/kernel is not there", "make install"]);
}

#[test]
fn the_folder_beside_it_has_the_recipes_and_the_files_of_an_image() {
    let desk = Desk::new();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let share = desk.bench.path("share/gild");
    for folder in ["share/gild/first-boot", "share/gild/e2fsprogs"] {
        fs::create_dir_all(desk.bench.path(folder)).expect("a folder");
    }
    fs::write(share.join("e2fsprogs/mke2fs"), "").expect("a file");
    for (from, to) in [
        ("image-builder/node/rootfs", "rootfs"),
        ("boards", "boards"),
    ] {
        let (from, to) = (project.join(from), share.join(to));
        let copied = Ran::of(Command::new("cp").arg("-r").args([from, to]));
        copied.succeeds();
    }
    // The first thing that is not there.
    installed(&desk, &IMAGE)
        .fails_saying(&["share/gild/first-boot/gild-seed is not a program for the boards"]);
    assert!(desk.bench.path("home/.cache/gild").is_dir());
}
