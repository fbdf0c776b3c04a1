//! `gild image publish`: a share gets a whole release, or keeps the one it has.

mod common;

use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{Bench, Ran};
use gild_format::Manifest;
use gild_format::signature::{self, PublicKey, SignatureError};

fn packed() -> Bench {
    static MADE: OnceLock<Vec<u8>> = OnceLock::new();
    Bench::like(&MADE, || {
        let bench = Bench::with_disk();
        bench.pack(&["--id", "one"]).succeeds();
        fs::create_dir(bench.path("share")).expect("a folder");
        bench
    })
}

fn publish(bench: &Bench, from: &str) -> Ran {
    bench.gild([
        "image",
        "publish",
        from,
        "--to",
        "share",
        "--key",
        "signing.pub",
    ])
}

fn verify(bench: &Bench) -> Ran {
    bench.gild(["image", "verify", "share", "--key", "signing.pub"])
}

fn current(bench: &Bench) -> String {
    Manifest::parse(&bench.bytes("share/rpi5/golden.json"))
        .expect("sound")
        .image_id
}

#[test]
fn nodes_can_read_what_is_published_whatever_the_umask_says() {
    let bench = Bench::with_disk();
    let gild = env!("CARGO_BIN_EXE_gild");
    let script = format!(
        "umask 077
         {gild} image pack disk.img --board rpi5 --key signing.key --output out --id one
         mkdir -m 755 share
         {gild} image publish out --to share --key signing.pub
         find out share ! -perm -o+r -o -type d ! -perm -o+x"
    );
    let ran = bench.shell(&script).succeeds();
    assert_eq!(ran.stdout.trim(), "one\none", "{}", ran.stderr);
    // A folder that was there before is the operator's.
    bench.shell("chmod 700 share").succeeds();
    let ran = bench
        .gild(["image", "publish", "out", "--to", "share"])
        .succeeds();
    assert!(ran.stderr.contains("chmod a+rx share"), "{}", ran.stderr);
}

#[test]
fn the_share_carries_the_same_files_and_keeps_old_images() {
    let bench = packed();
    publish(&bench, "out").succeeds();
    for name in bench.names("out/rpi5") {
        assert!(
            bench.bytes(&format!("out/rpi5/{name}")) == bench.bytes(&format!("share/rpi5/{name}")),
            "{name}"
        );
    }
    assert_eq!(bench.names("share/rpi5"), bench.names("out/rpi5"));
    verify(&bench).succeeds();
    // Once more, from the board's own folder: nothing to do.
    let ran = publish(&bench, "out/rpi5").succeeds();
    assert!(ran.stderr.contains("is there already"), "{}", ran.stderr);

    bench.make_disk("disk.img", "two");
    bench.pack(&["--id", "two", "--output", "next"]).succeeds();
    publish(&bench, "next").succeeds();
    verify(&bench).succeeds();
    assert_eq!(current(&bench), "two");
    assert!(
        bench.path("share/rpi5/one.img.zst").exists(),
        "a node in mid-flash still needs it"
    );
    bench
        .gild(["image", "publish", "out", "--to", "share/rpi5"])
        .fails_saying(&["share/rpi5 is a board's folder; next: give the folder above it"]);
    // And back again: the old image is current.
    publish(&bench, "out").succeeds();
    assert_eq!(current(&bench), "one");
    verify(&bench).succeeds();
}

/// The report is what `gild image build` writes beside its image.
#[test]
fn an_image_that_lacks_something_is_published_with_a_warning() {
    let bench = packed();
    let report = bench.path("out/rpi5/one.inspection.json");
    let k3s = "image one is built without k3s: its nodes join no cluster";
    let updates = "image one is built without security updates";
    for (text, warned) in [
        (r#"{"lacks": ["k3s"]}"#, [true, false]),
        (r#"{"lacks": ["k3s", "security-updates"]}"#, [true, true]),
        (r#"{"lacks": ["of-later-days", "k3s"]}"#, [true, false]),
        (r#"{"lacks": []}"#, [false, false]),
    ] {
        fs::write(&report, text).expect("written");
        let ran = publish(&bench, "out").succeeds();
        let found = [k3s, updates].map(|warning| ran.stderr.contains(warning));
        assert_eq!(found, warned, "{text}: {}", ran.stderr);
    }
}

#[test]
fn an_image_id_never_gets_other_content() {
    let bench = packed();
    publish(&bench, "out").succeeds();
    bench.make_disk("disk.img", "other");
    bench.pack(&["--id", "one", "--output", "other"]).succeeds();
    publish(&bench, "other").fails_saying(&["one", "other content", "--id"]);
    verify(&bench).succeeds();
}

#[test]
fn a_damaged_set_is_not_published() {
    let bench = packed();
    publish(&bench, "out").succeeds();
    bench.make_disk("disk.img", "two");
    bench.pack(&["--id", "two", "--output", "next"]).succeeds();
    let before = bench.names("share/rpi5");
    for file in ["two.img.zst", "golden.json", "golden.json.minisig"] {
        let file = format!("next/rpi5/{file}");
        bench.flip(&file, 100);
        publish(&bench, "next").fails_saying(&["cannot publish"]);
        assert_eq!(bench.names("share/rpi5"), before);
        bench.flip(&file, 100);
    }
    assert_eq!(current(&bench), "one");
    publish(&bench, "next").succeeds();
}

#[test]
fn a_damaged_copy_on_the_share_is_mended() {
    let bench = packed();
    publish(&bench, "out").succeeds();
    bench.flip("share/rpi5/one.img.zst", 1000);
    verify(&bench).fails_saying(&["is not sound"]);
    publish(&bench, "out").succeeds();
    verify(&bench).succeeds();
}

#[test]
fn a_share_that_is_not_mounted_is_not_made_up() {
    let bench = packed();
    fs::remove_dir(bench.path("share")).expect("removed");
    publish(&bench, "out").fails_saying(&["share", "mounted"]);
    assert!(!bench.path("share").exists());
    fs::create_dir(bench.path("share")).expect("a folder");
    publish(&bench, "nowhere").fails_saying(&["the folder nowhere is not there; next: "]);
}

/// The share of this test is 4 MiB large, mounted where nobody else sees it.
#[test]
fn a_full_share_keeps_what_it_has() {
    let bench = packed();
    let script = format!(
        "{} image publish out --to share && exit 3
         test -z \"$(ls -A share/rpi5)\"",
        env!("CARGO_BIN_EXE_gild")
    );
    let ran = bench.with_little_room("share", &script).succeeds();
    assert!(
        ran.stderr.contains("No space left on device"),
        "{}",
        ran.stderr
    );
}

/// A reader that looks all the time while releases change sees one of them, or a pair that does not fit yet.
#[test]
fn a_reader_never_sees_half_of_a_release() {
    let bench = packed();
    bench.make_disk("disk.img", "two");
    bench.pack(&["--id", "two", "--output", "next"]).succeeds();
    publish(&bench, "out").succeeds();
    let key = PublicKey::parse(&String::from_utf8(bench.bytes("signing.pub")).expect("text"))
        .expect("a key");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = [0_u32; 2];
            while !done.load(Ordering::Relaxed) {
                let manifest = bench.bytes("share/rpi5/golden.json");
                let minisig =
                    String::from_utf8(bench.bytes("share/rpi5/golden.json.minisig")).expect("text");
                let parsed = Manifest::parse(&manifest).expect("whole, whichever it is");
                assert!(
                    bench
                        .path(&format!("share/rpi5/{}", parsed.stored_file))
                        .exists()
                );
                match signature::verify(&key, &manifest, &minisig) {
                    Ok(()) => seen[usize::from(parsed.image_id == "two")] += 1,
                    Err(SignatureError::Mismatch) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            seen
        });
        for round in 0..10 {
            publish(&bench, ["next", "out"][round % 2]).succeeds();
        }
        done.store(true, Ordering::Relaxed);
        let seen = reader.join().expect("no half release");
        assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    });
}
