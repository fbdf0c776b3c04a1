//! `gild image diff`: the packages and the files that two images of a folder differ in.

mod common;

use std::fs;
use std::os::unix::fs::symlink;

use common::{Bench, MIB, Ran, noise};
use gild_format::Manifest;
use serde_json::{Value, json};

/// Where the root partition of the tests' disks begins.
const ROOT: u64 = 24 * MIB;

/// What is in both images, and what only one of them has.
struct Image<'a> {
    id: &'a str,
    counter: &'a str,
    /// Paths, with what the files hold.
    files: &'a [(&'a str, &'a str)],
    /// Paths, with where the links lead.
    links: &'a [(&'a str, &'a str)],
    /// Commands of debugfs: owners and modes that a test may not set on a file of its own.
    commands: &'a [&'a str],
}

impl Image<'_> {
    fn pack(&self, bench: &Bench) {
        let tree = bench.path("disk.img.tree");
        if tree.exists() {
            fs::remove_dir_all(&tree).expect("removed");
        }
        for (path, text) in self.files {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        for (path, target) in self.links {
            symlink(target, tree.join(path)).expect("a link");
        }
        bench.make_disk("disk.img", self.id);
        let disk = format!("disk.img?offset={ROOT}");
        for command in self.commands {
            bench
                .tool("debugfs", &["-w", "-R", command, &disk])
                .succeeds();
        }
        bench
            .pack(&["--id", self.id, "--rollback-counter", self.counter])
            .succeeds();
    }
}

fn diff(bench: &Bench, old: &str, new: &str, more: &[&str]) -> Ran {
    bench.gild([&["image", "diff", "out", old, new], more].concat())
}

/// Two images with one difference of each kind.
fn two() -> Bench {
    let bench = Bench::new();
    let same = [("etc/hosts", "localhost"), ("usr/bin/k3s", "program")];
    let old = [
        ("etc/fstab", "old"),
        ("etc/mode", "text"),
        ("etc/owner", "text"),
        ("usr/lib/becomes/one", "1"),
        ("usr/lib/becomes/two", "2"),
        ("usr/share/gone/deep/a", "123"),
        ("usr/share/gone/b", "4567"),
        ("usr/share/text", "12345678"),
        ("var/lib/dpkg/status", "bash 5"),
    ];
    let new = [
        ("etc/fstab", "newer"),
        ("etc/mode", "text"),
        ("etc/owner", "text"),
        ("usr/lib/becomes", "a file"),
        ("usr/share/text", "1234567."),
        ("usr/share/new", "new"),
        ("var/lib/dpkg/status", "bash 6"),
    ];
    // Whoever runs the tests is the owner of all else.
    let commands = |mode: &str, owner: &str, folder: &str, node: &str| {
        [
            format!("set_inode_field / mode {folder}"),
            format!("mknod node {node}"),
            format!("set_inode_field etc/mode mode {mode}"),
            "set_inode_field etc/mode uid 0".to_owned(),
            "set_inode_field etc/mode gid 0".to_owned(),
            format!("set_inode_field etc/owner uid {owner}"),
            "set_inode_field etc/owner gid 0".to_owned(),
        ]
    };
    let (of_one, of_two) = (
        commands("0100644", "0", "040755", "p"),
        commands("0104755", "7", "040700", "b 7 0"),
    );
    Image {
        id: "one",
        counter: "10",
        files: &[&same[..], &old].concat(),
        links: &[("etc/link", "hosts"), ("etc/same", "hosts")],
        commands: &of_one.each_ref().map(String::as_str),
    }
    .pack(&bench);
    Image {
        id: "two",
        counter: "20",
        files: &[&same[..], &new].concat(),
        links: &[
            ("etc/link", "fstab"),
            ("etc/same", "hosts"),
            ("usr/bin/sh", "k3s"),
        ],
        commands: &of_two.each_ref().map(String::as_str),
    }
    .pack(&bench);
    bench
}

/// The lists are what `gild image build` writes beside its images.
#[test]
fn a_diff_shows_the_packages_that_differ() {
    let bench = Bench::new();
    for (id, counter) in [("one", "10"), ("two", "20"), ("three", "30")] {
        let (files, links, commands) = (&[][..], &[][..], &[][..]);
        Image {
            id,
            counter,
            files,
            links,
            commands,
        }
        .pack(&bench);
    }
    let list = |id: &str, packages: &str| {
        let text = format!(r#"{{"packages": [{{"name": "{id}"}}, {packages}]}}"#);
        fs::write(bench.path(&format!("out/rpi5/{id}.spdx.json")), text).expect("written");
    };
    let package =
        |name: &str, version: &str| format!(r#"{{"name": "{name}", "versionInfo": "{version}"}}"#);
    let (kept, old) = (package("bash", "5"), package("curl", "8.1"));
    list("one", &[kept.clone(), old, package("gone", "1")].join(", "));
    list(
        "two",
        &[kept, package("curl", "8.2"), package("new", "2")].join(", "),
    );
    let packages = |old, new| diff(&bench, old, new, &["--packages"]);
    assert_eq!(
        packages("one", "two").succeeds().stdout,
        "  curl 8.1 -> 8.2\n- gone 1\n+ new 2\npackages: 1 added, 1 removed, 1 of another version\n"
    );
    let none = "packages: 0 added, 0 removed, 0 of another version\n";
    assert_eq!(packages("two", "two").succeeds().stdout, none);
    let both = diff(&bench, "one", "two", &[]).succeeds();
    assert!(
        both.stdout
            .starts_with("  curl 8.1 -> 8.2\n- gone 1\n+ new 2\nboot partition:\n")
            && both.stdout.ends_with(
                "packages: 1 added, 1 removed, 1 of another version; \
                 files: 0 added (0 bytes), 0 removed (0 bytes), 2 changed\n"
            ),
        "{}",
        both.stdout
    );
    packages("two", "three").fails_saying(&["three has no list of packages", "next: add --files"]);
    packages("two", "four").fails_saying(&["image four is not in out", "next:"]);
    fs::write(bench.path("out/rpi5/three.spdx.json"), "[]").expect("written");
    packages("two", "three").fails_saying(&["three.spdx.json is not a list of packages"]);
}

#[test]
fn a_diff_shows_the_files_that_differ_the_important_ones_first() {
    let bench = two();
    let ran = diff(&bench, "one", "two", &["--files"]).succeeds();
    assert_eq!(
        ran.stdout,
        "boot partition:
  /hello.txt  content, 15 bytes
root partition:
  /  mode 0755 -> 0700
  /etc/fstab  content, 3 bytes -> 5 bytes
  /etc/link  target hosts -> fstab
  /etc/mode  mode 0644 -> 4755
  /etc/owner  owner 0:0 -> 7:0
  /node  pipe -> block device
  /usr/lib/becomes  folder of 2 files -> file
  /hello.txt  content, 15 bytes
+ /usr/bin/sh -> k3s
- /usr/share/gone/  2 files, 7 bytes
+ /usr/share/new  3 bytes
  /usr/share/text  content, 8 bytes
  these differ between nearly all images:
  /var/lib/dpkg/status  content, 6 bytes
files: 2 added (3 bytes), 2 removed (7 bytes), 11 changed
"
    );
    assert!(ran.stderr.contains("NOT checked"), "{}", ran.stderr);
    let same = diff(&bench, "one", "one", &["--files"]).succeeds();
    assert_eq!(
        same.stdout,
        "boot partition:\n  no difference\nroot partition:\n  no difference\n\
         files: 0 added (0 bytes), 0 removed (0 bytes), 0 changed\n"
    );
}

#[test]
fn scripts_get_what_people_get() {
    let bench = two();
    let ran = diff(&bench, "one", "two", &["--files", "--json"]).succeeds();
    let found: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(found["old"], json!({"image_id": "one", "board": "rpi5"}));
    assert_eq!(found["packages"], Value::Null);
    assert_eq!(found["files"][0]["partition"], "boot");
    let root = &found["files"][1]["files"];
    let of = |path: &str| {
        let mut files = root.as_array().expect("a list").iter();
        let file = files.find(|file| file["path"] == path);
        file.unwrap_or_else(|| panic!("{path} is not in {root}"))
            .clone()
    };
    assert_eq!(
        of("etc/mode"),
        json!({
            "path": "etc/mode",
            "changes": ["mode"],
            "expected": false,
            "old": {"kind": "file", "size": 4, "mode": 0o644, "owner": [0, 0]},
            "new": {"kind": "file", "size": 4, "mode": 0o4755, "owner": [0, 0]},
        })
    );
    assert_eq!(of("usr/share/gone")["old"]["files"], 2);
    assert_eq!(of("usr/share/gone")["new"], Value::Null);
    assert_eq!(of("var/lib/dpkg/status")["expected"], true);
    assert_eq!(found["summary"]["files"]["changed"], 11);
    assert_eq!(root.as_array().map(Vec::len), Some(13));
}

#[test]
fn a_diff_names_what_it_cannot_read() {
    let bench = two();
    // A chunk in the middle of a file that both images have, in other places.
    let manifest = Manifest::parse(&bench.bytes("out/rpi5/two.json")).expect("sound");
    let disk = bench.bytes("disk.img");
    let file = noise(9 * MIB);
    let middle = &file[file.len() / 2..][..64];
    let found = disk.windows(64).position(|part| part == middle);
    let at = found.expect("the file") as u64;
    let mut chunks = manifest.chunks.iter();
    let chunk = chunks.rfind(|chunk| chunk.raw_offset <= at);
    let chunk = chunk.expect("a chunk");
    bench.flip("out/rpi5/two.img.zst", chunk.stored_offset + 4096);
    let ran = diff(&bench, "two", "one", &["--files"]);
    assert_eq!(ran.code, Some(6), "{ran:?}");
    assert_eq!(ran.stdout, "");
    // What is the same in both by its chunks is not read.
    diff(&bench, "two", "two", &["--files"]).succeeds();
    ran.fails_saying(&[
        "cannot read /noise in the root partition of image two",
        "chunk",
        "next:",
    ]);
}

#[test]
fn a_file_system_that_claims_what_cannot_be_ends_a_diff() {
    let bench = two();
    let pack = |id, counter, command| {
        let image = Image {
            id,
            counter,
            files: &[("etc/hosts", "localhost")],
            links: &[],
            commands: &[command],
        };
        image.pack(&bench);
    };
    pack("three", "30", "ln / etc/loop");
    diff(&bench, "one", "three", &["--files"]).fails_saying(&[
        "cannot read the root partition (ext4) of image three",
        "its folders lead into each other",
        "next:",
    ]);
    // A file of holes.
    for (id, counter) in [("four", "40"), ("five", "50")] {
        pack(id, counter, "set_inode_field etc/hosts size 0x7fffffff");
    }
    diff(&bench, "four", "five", &["--files"]).fails_saying(&[
        "cannot read /etc/hosts in the root partition of image four",
        "it claims to be longer than its partition",
        "next:",
    ]);
}

/// A name may be meant for the terminal.
#[test]
fn the_name_of_a_file_that_cannot_be_read_cannot_move_the_cursor() {
    let bench = Bench::new();
    let pack = |id, counter, command: &str| {
        let image = Image {
            id,
            counter,
            files: &[("etc/\u{1b}file", "text")],
            links: &[("etc/\u{1b}link", &"x".repeat(80))],
            commands: &[command],
        };
        image.pack(&bench);
    };
    let too_long = |path| format!("set_inode_field {path} size 0x7fffffff");
    pack("one", "10", &too_long("etc/\u{1b}file"));
    pack("two", "20", &too_long("etc/\u{1b}file"));
    pack("three", "30", &too_long("etc/\u{1b}link"));
    for (new, said) in [("two", r"/etc/\u{1b}file"), ("three", r"/etc/\u{1b}link")] {
        let ran = diff(&bench, "one", new, &["--files"]);
        assert!(!ran.stderr.contains('\u{1b}'), "{:?}", ran.stderr);
        ran.fails_saying(&[said, "next:"]);
    }
}

/// Many names of one file take no room.
#[test]
fn files_that_add_up_to_more_than_an_image_holds_are_not_compared() {
    let bench = Bench::new();
    let grow = format!("set_inode_field etc/hosts size {}", 8 * MIB);
    let names = (0..60).map(|number| format!("ln etc/hosts etc/{number}"));
    let commands: Vec<String> = [grow].into_iter().chain(names).collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    for (id, counter, text) in [("one", "10", "old"), ("two", "20", "new")] {
        let image = Image {
            id,
            counter,
            files: &[("etc/hosts", text)],
            links: &[],
            commands: &commands,
        };
        image.pack(&bench);
    }
    diff(&bench, "one", "two", &["--files"]).fails_saying(&[
        "cannot read the files of both partitions of image two",
        "their lengths add up to more than",
        "next:",
    ]);
}

#[test]
fn a_diff_checks_signatures_if_it_has_the_key_and_warns_of_two_boards() {
    let bench = two();
    let ran = diff(&bench, "one", "two", &["--files", "--key", "signing.pub"]).succeeds();
    assert!(!ran.stderr.contains("NOT checked"), "{}", ran.stderr);
    bench.gild(["key", "new", "--output", "other"]).succeeds();
    let ran = diff(&bench, "one", "two", &["--files", "--key", "other.pub"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    ran.fails_saying(&["out/rpi5/one.json", "next:"]);

    bench
        .pack(&["--id", "three", "--board", "rock5b"])
        .succeeds();
    let ran = diff(&bench, "two", "three", &["--files"]).succeeds();
    assert!(
        ran.stderr
            .contains("image two is for rpi5, and image three for rock5b"),
        "{}",
        ran.stderr
    );
}
