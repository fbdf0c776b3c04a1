//! `gild image verify`: one changed bit anywhere in a published set is found, and named.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use common::{Bench, MIB, copy};
use gild_format::network::{NETWORK_OFFSET, Settings};
use gild_format::record::{RECORD_OFFSET, Record, State};
use gild_format::{Manifest, manifest_sha256};
use gild_http_testkit::{Reply, Request, Server};

fn verify(bench: &Bench, more: &[&str]) -> common::Ran {
    bench.gild(
        ["image", "verify", "out", "--key", "signing.pub"]
            .into_iter()
            .chain(more.iter().copied()),
    )
}

#[test]
fn a_sound_set_is_sound() {
    let bench = Bench::packed();
    let ran = verify(&bench, &["--raw", "disk.img"]).succeeds();
    assert!(
        ran.stdout.contains("image image is sound"),
        "{}",
        ran.stdout
    );
    bench
        .gild([
            "image",
            "verify",
            "out/rpi5/image.json",
            "--key",
            "signing.pub",
        ])
        .succeeds();
    let ran = bench.gild(["image", "verify", "out"]).succeeds();
    assert!(
        ran.stderr.contains("signature is NOT checked"),
        "{}",
        ran.stderr
    );
}

/// Its signature is not there either, and nobody asked for that.
#[test]
fn a_manifest_that_is_not_there_is_named_itself() {
    let bench = Bench::packed();
    let server = Server::start(|_: &Request| Reply::new(404, "no\n"));
    let address = format!("{}/rpi5/golden.json", server.url());
    for manifest in ["out/rpi5/gone.json", &address] {
        let args = ["image", "verify", manifest, "--key", "signing.pub"];
        let said = bench.gild(args).fails_saying(&["next: "]).stderr;
        assert!(
            said.contains(".json") && !said.contains("minisig"),
            "{said}"
        );
    }
}

#[test]
fn every_file_of_the_set_is_checked() {
    let bench = Bench::packed();
    let manifest = Manifest::parse(&bench.bytes("out/rpi5/golden.json")).expect("sound");
    let hole = manifest
        .chunks
        .iter()
        .find(|chunk| chunk.hole)
        .expect("a hole");
    let data = manifest
        .chunks
        .iter()
        .rfind(|chunk| !chunk.hole)
        .expect("data");
    let cases = [
        // Three places in the stored image: data, a hole that no node fetches, the seek table.
        ("image.img.zst", data.stored_offset + 20, 6),
        ("image.img.zst", hole.stored_offset + 20, 6),
        ("image.img.zst", manifest.stored_size - 20, 10),
        // A digit of a number: still JSON, but not what was signed.
        ("golden.json", 18, 4),
        ("image.json", 18, 10),
        ("image.json.minisig", 100, 10),
        ("golden.json.minisig", 100, 4),
        ("image.bmap", 100, 10),
        ("image.sha256", 3, 10),
    ];
    for (name, offset, code) in cases {
        let file = format!("out/rpi5/{name}");
        bench.flip(&file, offset);
        let ran = verify(&bench, &[]).fails_saying(&["is not sound"]);
        // The exit code is the fault a node would show: 4 for the manifest, 6 for the data.
        assert_eq!(ran.code, Some(code), "{name} at {offset}: {}", ran.stderr);
        bench.flip(&file, offset);
        verify(&bench, &[]).succeeds();
        fs::rename(bench.path(&file), bench.path("away")).expect("renamed");
        bench
            .gild([
                "image",
                "verify",
                "out/rpi5/golden.json",
                "--key",
                "signing.pub",
            ])
            .fails_saying(&[name, "is not there; next: "]);
        fs::rename(bench.path("away"), bench.path(&file)).expect("renamed");
    }
}

#[test]
fn another_key_and_an_unreadable_key_are_refused() {
    let bench = Bench::packed();
    bench.gild(["key", "new", "--output", "other"]).succeeds();
    let verify = |key| bench.gild(["image", "verify", "out", "--key", key]);
    let ran = verify("other.pub").fails_saying(&[
        "signed with another key",
        "; next: give the .pub of the key that signed the image",
    ]);
    assert_eq!(ran.code, Some(4));
    verify("nowhere.pub").fails_saying(&["the public key nowhere.pub is not there; next: "]);
    verify("disk.img").fails_saying(&["disk.img"]);
    verify("signing.key").fails_saying(&[
        "cannot use the key signing.key: it is a minisign secret key, ",
        "; next: give the public key",
    ]);
    fs::write(bench.path("text"), "a text\n").expect("written");
    verify("text").fails_saying(&[
        "cannot use the key text: it is not a minisign public key, ",
        "; next: give the public key",
    ]);
    let line = bench.gild(["key", "show", "signing.pub"]).succeeds().stdout;
    verify(line.split('"').nth(1).expect("the key")).succeeds();
}

#[test]
fn what_is_missing_or_another_thing_is_not_called_damaged() {
    let bench = Bench::packed();
    let both = ["golden.json", "image.json", "image.bmap", "image.img.zst"];
    for name in both {
        let path = bench.path(&format!("out/rpi5/{name}"));
        fs::rename(&path, bench.path("away")).expect("renamed");
        let ran = verify(&bench, &[]);
        assert!(!ran.stderr.contains("is not sound"), "{}", ran.stderr);
        // A link to itself cannot be read by root either.
        for make in [
            |path| fs::create_dir(path),
            |path: &Path| symlink(path, path),
        ] {
            make(&path).expect("something else in its place");
            let ran = verify(&bench, &[]).fails_saying(&["was not checked: ", name]);
            assert!(!ran.stderr.contains("is not sound"), "{}", ran.stderr);
            fs::remove_dir(&path)
                .or_else(|_| fs::remove_file(&path))
                .expect("removed");
        }
        fs::rename(bench.path("away"), &path).expect("renamed");
    }
    let ran = verify(&bench, &["--raw", "out"]).fails_saying(&[
        "out was not compared: the raw image out is a folder; next: give a raw image",
    ]);
    assert!(!ran.stderr.contains("does not carry"), "{}", ran.stderr);
    // Nor is an image unsound because a disk carries another one.
    let ran = verify(&bench, &["--raw", "signing.pub"]).fails_saying(&["does not carry the image"]);
    assert!(!ran.stderr.contains("is not sound"), "{}", ran.stderr);
}

#[test]
fn an_address_that_ends_before_the_manifest_is_said() {
    let bench = Bench::new();
    for address in ["nfs://127.0.0.1/gild/rpi5", "http://127.0.0.1:1/rpi5/?a=b"] {
        bench
            .gild(["image", "verify", address])
            .fails_saying(&["does not name a manifest; next: ", "<board>/golden.json"]);
    }
}

/// A damaged image is thrown away; one that was not read is not.
#[test]
fn what_cannot_be_read_is_not_called_damaged() {
    let bench = Bench::packed();
    // The kernel reads no folder as a file.
    let manifest = bench.path("out/rpi5/image.json");
    fs::remove_file(&manifest).expect("removed");
    fs::create_dir(&manifest).expect("a folder");
    verify(&bench, &[]).fails_saying(&["golden.json was not checked", "image.json"]);
    let nobody = "nfs://127.0.0.1:9/gild/golden.json";
    let ran = bench
        .gild([
            "image",
            "verify",
            nobody,
            "--key",
            "signing.pub",
            "--attempts",
            "2",
        ])
        .fails_saying(&["was not checked"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
}

#[test]
fn a_folder_where_a_manifest_is_meant_is_said() {
    let bench = Bench::packed();
    let manifest = ["flash", "--manifest", "out/rpi5", "--key", "signing.pub"];
    let target = ["--target", "disk.img", "--allow-file", "--yes"];
    bench
        .gild([manifest.as_slice(), target.as_slice()].concat())
        .fails_saying(&["out/rpi5 is a folder; next: ", "out/rpi5/golden.json"]);
}

#[test]
fn a_folder_without_an_image_is_said() {
    let bench = Bench::new();
    fs::create_dir(bench.path("out")).expect("a folder");
    verify(&bench, &[]).fails_saying(&["no golden.json in out", "; next: "]);
    for command in ["verify", "inspect"] {
        let ran = bench
            .gild(["image", command, "out/rpi6"])
            .fails_saying(&["out/rpi6 is not there; next: "]);
        assert!(!ran.stderr.contains("is not sound"), "{}", ran.stderr);
    }
    let args = ["image", "publish", "out/rpi6", "--to", "out"];
    bench
        .gild(args)
        .fails_saying(&["the folder out/rpi6 is not there; next: "]);
}

#[test]
fn a_raw_image_that_differs_anywhere_is_found() {
    let bench = Bench::packed();
    let compare = |name: &str| verify(&bench, &["--raw", name]);
    // In data, in a hole, in the last sector, and where the commit record would be.
    for offset in [20 * MIB, 8 * MIB, 64 * MIB - 1, RECORD_OFFSET + 7] {
        copy(&bench.path("disk.img"), &bench.path("other.img"));
        bench.flip("other.img", offset);
        let ran = compare("other.img").fails_saying(&["does not carry the image"]);
        assert_eq!(ran.code, Some(6), "{}", ran.stderr);
    }
    copy(&bench.path("disk.img"), &bench.path("other.img"));
    File::options()
        .write(true)
        .open(bench.path("other.img"))
        .and_then(|file| file.set_len(64 * MIB - 512))
        .expect("shortened");
    compare("other.img").fails_saying(&["the image has 67108864"]);
    compare("nowhere.img").fails_saying(&["nowhere.img"]);
}

#[test]
fn a_flashed_disk_differs_by_its_commit_record_and_network_block_alone() {
    let bench = Bench::packed();
    let record = Record {
        state: State::Proven,
        image_id: "image".to_owned(),
        manifest_sha256: manifest_sha256(&bench.bytes("out/rpi5/golden.json")),
        rollback_counter: 0,
        rollback_floor: 0,
        trial_starts: 0,
        is_discarded: true,
        is_boot_order_pending: false,
        orders: Vec::new(),
    };
    let with = |record: &Record| {
        bench.poke("disk.img", RECORD_OFFSET, &record.to_bytes());
        verify(&bench, &["--raw", "disk.img"])
    };
    with(&record).succeeds();
    with(&Record {
        state: State::Trial,
        ..record.clone()
    })
    .succeeds();
    with(&Record {
        state: State::Flashing,
        ..record.clone()
    })
    .fails_saying(&["was not finished"]);
    with(&Record {
        image_id: "other".to_owned(),
        ..record.clone()
    })
    .fails_saying(&["names image other"]);
    with(&record).succeeds();
    with(&Record {
        state: State::Trial,
        ..record.clone()
    })
    .succeeds();
    let network = Settings {
        vlan: Some(7),
        ..Settings::default()
    };
    bench.poke("disk.img", NETWORK_OFFSET, &network.to_bytes());
    with(&record).succeeds();
    bench.flip("disk.img", NETWORK_OFFSET - 1);
    with(&record).fails_saying(&["SHA-256"]);
    bench.flip("disk.img", NETWORK_OFFSET - 1);
    bench.flip("disk.img", RECORD_OFFSET - 1);
    with(&record).fails_saying(&["its network block is damaged"]);
}

/// A real block device (a loop device), larger than the image as a node's disk is. Needs root.
#[test]
#[ignore = "needs root; `make test` runs it"]
fn a_block_device_is_compared() {
    let bench = Bench::packed();
    File::options()
        .write(true)
        .open(bench.path("disk.img"))
        .and_then(|f| f.set_len(80 * MIB))
        .expect("resized");
    let attached = bench.tool("losetup", &["--find", "--show", "disk.img"]);
    assert_eq!(
        attached.code,
        Some(0),
        "no loop device (run this as root, as `make test` does): {}",
        attached.stderr
    );
    let device = attached.stdout.trim();
    let same = verify(&bench, &["--raw", device]);
    bench.poke(device, 20 * MIB, b"changed");
    let changed = verify(&bench, &["--raw", device]);
    bench.tool("losetup", &["--detach", device]).succeeds();
    same.succeeds();
    changed.fails_saying(&["SHA-256"]);
}

#[test]
fn an_image_that_is_not_sound_is_refused_with_what_to_do() {
    let bench = Bench::with_disk();
    bench.pack(&["--id", "image"]).succeeds();
    let verify = || bench.gild(["image", "verify", "out", "--key", "signing.pub"]);
    bench.flip("out/rpi5/image.img.zst", 5000);
    verify().fails_saying(&["is not sound", "next: "]);
    for (file, words) in [
        ("golden.json.minisig", "it is empty; next: "),
        ("golden.json", "next: build or publish the image again"),
    ] {
        bench.shell(&format!(": > out/rpi5/{file}")).succeeds();
        verify().fails_saying(&[words]);
        bench.pack(&["--id", "image"]);
    }
}
