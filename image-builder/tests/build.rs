//! What `gild image build` says before it starts anything that takes long, and what `publish` does with what it made.
//! The builds themselves are tested in `image-builder/golden`.

mod common;

use std::fs;
use std::process::Command;

use common::{Bench, Ran};

/// `gild image build` with nothing but folders instead of gild's own files.
fn command(bench: &Bench, more: &[&str]) -> Command {
    for folder in ["own/rootfs", "own/first-boot", "own/e2fsprogs"] {
        fs::create_dir_all(bench.path(folder)).expect("a folder");
    }
    fs::write(bench.path("own/e2fsprogs/mke2fs"), "").expect("a file");
    let mut command = bench.command();
    command
        .env("GILD_SHARE", "own")
        .args(["image", "build", "--board", "rpi5", "--key", "signing.key"])
        .args(["--output", "out"])
        .args(more);
    command
}

fn build(bench: &Bench, more: &[&str]) -> Ran {
    Ran::of(&mut command(bench, more))
}

#[test]
fn an_image_without_k3s_is_built_only_on_request() {
    let bench = Bench::new();
    build(&bench, &[]).fails_saying(&["cannot join a cluster", "--k3s FILE", "--without-k3s"]);
    build(&bench, &["--k3s", "k3s-arm64"]).fails_saying(&["--k3s-sha256"]);
    build(
        &bench,
        &["--without-k3s", "--k3s", "k3s-arm64", "--k3s-sha256", "00"],
    )
    .fails_saying(&["cannot be used with"]);
    let digest = "00".repeat(32);
    build(&bench, &["--k3s", "k3s-arm64", "--k3s-sha256", &digest]).fails_saying(&[
        "the program of k3s k3s-arm64 is not there; next: give k3s-arm64 of a k3s release",
    ]);
    assert!(bench.names("out").is_empty());
}

#[test]
fn an_image_without_matchbox_is_built_only_on_request() {
    let bench = Bench::new();
    let build = |more: &[&str]| {
        let arguments = [&["--without-k3s"], more].concat();
        build(&bench, &arguments)
    };
    build(&[]).fails_saying(&[
        "do not learn who they are",
        "--matchbox URL",
        "--without-matchbox",
    ]);
    let both = ["--without-matchbox", "--matchbox", "http://mb.example"];
    build(&both).fails_saying(&["cannot be used with"]);
    build(&["--matchbox-ca", "ca.pem"]).fails_saying(&["--matchbox <URL>"]);
    build(&["--k3s-url", "https://k:6443"]).fails_saying(&["--matchbox <URL>"]);
    fs::create_dir_all(bench.path("overlay/etc/gild")).expect("a folder");
    build(&["--overlay", "overlay"]).fails_saying(&["--without-matchbox"]);
    assert!(bench.names("out").is_empty());
    // A file of the site's own says it, and what it says is read with the other inputs.
    let own = bench.path("overlay/etc/gild/first-boot.toml");
    fs::write(own, "matchbox = \"http://mb.example\"\n").expect("a file");
    build(&["--overlay", "overlay"]).fails_saying(&["boards/rpi5/image.toml"]);
}

#[test]
fn what_is_missing_is_named_before_anything_starts() {
    let bench = Bench::new();
    build(&bench, &["--without-k3s", "--without-matchbox"])
        .fails_saying(&["boards/rpi5/image.toml", "cannot be read"]);
    build(
        &bench,
        &[
            "--without-k3s",
            "--without-matchbox",
            "--base",
            "vendor.img.xz",
        ],
    )
    .fails_saying(&["--sha256"]);
    bench
        .gild([
            "image",
            "build",
            "--board",
            "rpi4",
            "--key",
            "signing.key",
            "--output",
            "out",
            "--without-k3s",
            "--without-matchbox",
        ])
        .fails_saying(&["`rpi4` is not a board that gild knows (did you mean `rpi5`?); next: "]);
    bench
        .gild([
            "image",
            "build",
            "--board",
            "rpi5",
            "--key",
            "none.key",
            "--output",
            "out",
            "--without-k3s",
            "--without-matchbox",
        ])
        .fails_saying(&["none.key"]);
    build(
        &bench,
        &[
            "--without-k3s",
            "--without-matchbox",
            "--exempt",
            "no-such-rule=*",
        ],
    )
    .fails_saying(&["no-such-rule"]);
    build(
        &bench,
        &[
            "--without-security-updates",
            "--security-mirror",
            "http://a",
        ],
    )
    .fails_saying(&["cannot be used with"]);
    assert!(bench.names("out/rpi5").is_empty());
}

#[test]
fn a_build_has_its_folder_alone_and_leaves_nothing_there_when_killed_nor_for_long_elsewhere() {
    let bench = Bench::new();
    // A recipe that never comes holds the build up.
    bench.tool("mkfifo", &["recipe"]).succeeds();
    let options = ["--without-k3s", "--without-matchbox", "--recipe", "recipe"];
    let mut child = command(&bench, &["--cache", "cache"])
        .args(options)
        .spawn()
        .expect("gild");
    // Returns once the build has opened the other end.
    let recipe = fs::File::create(bench.path("recipe")).expect("a pipe");
    assert_eq!(bench.names("cache/tmp").len(), 1);
    build(
        &bench,
        &["--without-k3s", "--without-matchbox", "--cache", "other"],
    )
    .fails_saying(&["another gild"]);
    assert!(bench.names("other").is_empty());
    child.kill().expect("SIGKILL");
    child.wait().expect("an end");
    drop(recipe);
    assert!(bench.names("out/rpi5").is_empty());

    build(
        &bench,
        &["--without-k3s", "--without-matchbox", "--cache", "cache"],
    )
    .fails_saying(&["cannot be read"]);
    assert!(bench.names("cache/tmp").is_empty());
}

#[test]
fn what_is_told_about_an_image_goes_to_the_share_with_it() {
    let bench = Bench::with_disk();
    bench.pack(&["--id", "rpi5-0123456789ab"]).succeeds();
    for ending in ["spdx.json", "build.json", "inspection.json"] {
        fs::write(
            bench.path(&format!("out/rpi5/rpi5-0123456789ab.{ending}")),
            ending,
        )
        .expect("a file");
    }
    fs::create_dir(bench.path("share")).expect("a folder");
    bench
        .gild(["image", "publish", "out", "--to", "share"])
        .succeeds();
    for ending in ["spdx.json", "build.json", "inspection.json"] {
        let copy = bench.bytes(&format!("share/rpi5/rpi5-0123456789ab.{ending}"));
        assert_eq!(copy, ending.as_bytes());
    }
}
