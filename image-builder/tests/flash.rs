//! `gild flash`: the engine from a workstation, onto files and, as root, loop devices.

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::{Bench, MIB, Ran, noise};
use gild_format::record::{RECORD_LENGTH, RECORD_OFFSET, Record};

/// A packed image, and a target full of something else, larger than the image.
fn packed() -> Bench {
    let bench = Bench::packed();
    std::fs::write(bench.path("target.img"), noise(80 * MIB)).expect("written");
    bench
}

fn flash(bench: &Bench, more: &[&str]) -> Ran {
    let mut command = bench.command();
    command.args(["flash", "--manifest", "out/rpi5/golden.json"]);
    for (option, value) in [("--target", "target.img"), ("--key", "signing.pub")] {
        if !more.contains(&option) {
            command.args([option, value]);
        }
    }
    Ran::of(command.args(more))
}

/// It failed with this code, said these words, and the target is as it was.
#[track_caller]
fn refuses(bench: &Bench, ran: Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, Some(code), "{}", ran.stderr);
    ran.fails_saying(words);
    assert!(
        bench.bytes("target.img") == noise(80 * MIB),
        "the target changed"
    );
}

#[test]
fn a_flashed_target_is_the_image_and_is_not_written_again() {
    let bench = packed();
    let ran = flash(&bench, &["--yes", "--allow-file", "--board", "rpi5"]).succeeds();
    for words in ["verified and committed", "fetched", "read back", "commit"] {
        assert!(ran.stdout.contains(words), "{}", ran.stdout);
    }
    assert!(ran.stderr.contains("verify: 100 %"), "{}", ran.stderr);
    let (disk, target) = (bench.bytes("disk.img"), bench.bytes("target.img"));
    // All but the commit record, the last block of the first MiB.
    assert!(target[..0xff_000] == disk[..0xff_000]);
    assert!(target[0x10_0000..disk.len()] == disk[0x10_0000..]);
    let verify = ["image", "verify", "out", "--key", "signing.pub", "--raw"];
    bench
        .gild(verify.into_iter().chain(["target.img"]))
        .succeeds();
    let ran = flash(&bench, &["--allow-file"]).succeeds();
    assert!(ran.stdout.contains("nothing written"), "{}", ran.stdout);
    assert!(bench.bytes("target.img") == target);
}

#[test]
fn holes_are_sampled_or_read_in_full() {
    let bench = packed();
    let holes = |more: &[&str]| -> (u64, u64) {
        std::fs::write(bench.path("target.img"), noise(80 * MIB)).expect("written");
        let ran = flash(&bench, &[&["--yes", "--allow-file"], more].concat()).succeeds();
        let mut lines = ran.stdout.lines();
        let line = lines.find_map(|line| line.trim().strip_prefix("holes "));
        let line = line.unwrap_or_else(|| panic!("no line on holes in {}", ran.stdout));
        let numbers: Vec<u64> = line
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let [all, read] = numbers[..] else {
            panic!("{line}")
        };
        (all, read)
    };
    let (all, read) = holes(&[]);
    assert!(0 < read && read < all / 2, "{read} of {all}");
    assert_eq!(holes(&["--read-holes"]), (all, all));
}

#[test]
fn a_folder_in_the_place_of_the_manifest_is_said_with_what_to_give() {
    let bench = packed();
    let flash = |manifest| {
        let args = ["--target", "target.img", "--key", "signing.pub"];
        let command = ["flash", "--manifest", manifest];
        bench.gild(command.into_iter().chain(args))
    };
    for folder in ["out", "out/rpi5"] {
        refuses(
            &bench,
            flash(folder),
            10,
            &[&format!(
                "the manifest {folder} is a folder; next: give the manifest in it: out/rpi5/golden.json"
            )],
        );
    }
    fs::create_dir(bench.path("empty")).expect("a folder");
    let next = "give the manifest in it: empty/<board>/golden.json";
    refuses(&bench, flash("empty"), 10, &["is a folder; next: ", next]);
}

#[test]
fn a_target_that_is_not_there_is_said_with_what_may_be_given() {
    let bench = packed();
    let ran = flash(&bench, &["--target", "none"]);
    refuses(&bench, ran, 5, &["; next: give a disk that `lsblk` shows"]);
    let ran = flash(&bench, &["--target", "none", "--allow-file"]);
    assert!(!ran.stderr.contains("lsblk"), "{}", ran.stderr);
    refuses(&bench, ran, 5, &["; next: give a file that is as large as"]);
}

/// What is wrong on this machine is said before a server is waited for.
#[test]
fn a_wrong_target_is_said_before_the_server_is_asked() {
    let bench = packed();
    for (target, words) in [
        ("none", "give a disk that `lsblk` shows"),
        ("target.img", "target.img is a regular file"),
        ("out", "out is neither a disk nor a file"),
    ] {
        let mut command = bench.command();
        let nobody = "nfs://127.0.0.1/images/rpi5/golden.json";
        command.args(["flash", "--manifest", nobody, "--key", "signing.pub"]);
        let ran = Ran::of(command.args(["--target", target]));
        assert!(!ran.stderr.contains("127.0.0.1"), "{}", ran.stderr);
        refuses(&bench, ran, 5, &[words]);
    }
}

#[test]
fn without_a_yes_nothing_is_written() {
    let bench = packed();
    let ran = flash(&bench, &["--allow-file"]);
    refuses(&bench, ran, 10, &["add --yes", "nothing was written"]);

    // On a terminal, which script(1) makes, a person is asked.
    let on_a_terminal = |answer: &str| {
        let gild = env!("CARGO_BIN_EXE_gild");
        let asked = "flash --manifest out/rpi5/golden.json --target target.img --key signing.pub --allow-file";
        bench.shell(&format!(
            "echo {answer} | script -qec '{gild} {asked}' /dev/null"
        ))
    };
    let ran = on_a_terminal("no");
    assert!(ran.stdout.contains("will be destroyed"), "{ran:?}");
    assert_eq!(ran.code, Some(10), "{ran:?}");
    assert!(
        bench.bytes("target.img") == noise(80 * MIB),
        "the target changed"
    );
    let ran = on_a_terminal("yes").succeeds();
    assert!(
        ran.stdout.contains("verified and committed"),
        "{}",
        ran.stdout
    );
}

fn orders_on(bench: &Bench) -> Vec<String> {
    let at = usize::try_from(RECORD_OFFSET).expect("a place");
    let record = &bench.bytes("target.img")[at..at + RECORD_LENGTH];
    Record::parse(record).expect("a record").orders
}

#[test]
fn the_disk_remembers_the_orders_that_it_is_given_and_those_of_before() {
    let bench = packed();
    let ran = flash(
        &bench,
        &["--yes", "--allow-file", "--order", "of all nodes"],
    );
    refuses(
        &bench,
        ran,
        64,
        &["`of all nodes`", "not the id of an order"],
    );
    let six = ["--order", "o"].repeat(6);
    let ran = flash(&bench, &[&["--yes", "--allow-file"][..], &six].concat());
    refuses(&bench, ran, 10, &["remembers 5 orders, not 6", "next: "]);

    let once = ["--yes", "--allow-file", "--order", "o-2", "--order", "o-1"];
    flash(&bench, &once).succeeds();
    assert_eq!(orders_on(&bench), ["o-2", "o-1"]);
    flash(&bench, &["--yes", "--allow-file", "--order", "o-3"])
        .fails_saying(&["nothing is written, and an order is not noted", "next: "]);
    flash(&bench, &once).succeeds();

    bench.poke("target.img", 0, &[0; 512]);
    let twice = ["--yes", "--allow-file", "--order", "o-1", "--order", "o-1"];
    flash(&bench, &twice).succeeds();
    assert_eq!(orders_on(&bench), ["o-1", "o-2"]);
}

#[test]
fn what_must_not_be_written_is_refused_with_the_number_a_node_would_blink() {
    let bench = packed();
    let ran = flash(&bench, &["--yes"]);
    refuses(&bench, ran, 5, &["regular file", "--allow-file"]);
    let ran = flash(&bench, &["--yes", "--target", "/dev/null"]);
    refuses(&bench, ran, 5, &["neither a disk nor a file"]);
    let ran = flash(&bench, &["--yes", "--target", "nowhere"]);
    refuses(&bench, ran, 5, &["nowhere"]);
    let ran = flash(&bench, &["--yes", "--allow-file", "--board", "rock5b"]);
    refuses(&bench, ran, 4, &["for board rpi5, not rock5b"]);
    let ran = flash(&bench, &["--yes", "--allow-file", "--board", "rpi6"]);
    refuses(&bench, ran, 4, &["(did you mean `rpi5`?); next: "]);
    let small = File::create(bench.path("small.img")).and_then(|file| file.set_len(32 * MIB));
    small.expect("a file");
    let ran = flash(&bench, &["--yes", "--allow-file", "--target", "small.img"]);
    refuses(&bench, ran, 5, &["small.img", "nothing was written"]);
}

#[test]
fn an_image_that_is_not_signed_by_the_key_or_is_damaged_is_refused() {
    let bench = packed();
    bench.gild(["key", "new", "--output", "other"]).succeeds();
    let ran = flash(&bench, &["--yes", "--allow-file", "--key", "other.pub"]);
    refuses(&bench, ran, 4, &["refusing out/rpi5/golden.json"]);

    let manifest =
        gild_format::Manifest::parse(&bench.bytes("out/rpi5/golden.json")).expect("sound");
    let data = manifest
        .chunks
        .iter()
        .rfind(|chunk| !chunk.hole)
        .expect("data");
    bench.flip("out/rpi5/image.img.zst", data.stored_offset + 20);
    let ran = flash(&bench, &["--yes", "--allow-file"]);
    assert_eq!(ran.code, Some(6), "{}", ran.stderr);
    ran.fails_saying(&["came damaged 3 times"]);
    // What was begun does not boot, and goes on when the image is repaired.
    bench
        .tool("sh", &["-c", "! blkid -p target.img"])
        .succeeds();
    bench.flip("out/rpi5/image.img.zst", data.stored_offset + 20);
    let ran = flash(&bench, &["--yes", "--allow-file"]).succeeds();
    assert!(
        ran.stderr.contains("chunks already on the disk"),
        "{}",
        ran.stderr
    );
}

#[test]
fn an_image_for_a_newer_gild_is_refused() {
    let bench = packed();
    let manifest = String::from_utf8(bench.bytes("out/rpi5/golden.json")).expect("JSON");
    let newer = manifest.replace(
        r#""min_agent_version":"0.2.0""#,
        r#""min_agent_version":"99.0.0""#,
    );
    assert_ne!(manifest, newer);
    fs::write(bench.path("out/rpi5/golden.json"), newer).expect("written");
    let sign = ["-S", "-s", "signing.key", "-m", "out/rpi5/golden.json"];
    bench.tool("minisign", &sign).succeeds();
    let ran = flash(&bench, &["--yes", "--allow-file"]);
    refuses(&bench, ran, 4, &["asks for gild 99.0.0 or newer"]);
}

#[test]
fn a_release_met_in_the_middle_of_its_replacement_is_read_again() {
    let bench = packed();
    let manifest = bench.path("out/rpi5/golden.json");
    let coming = fs::read(&manifest).expect("it was packed");
    // The signature of the release that is coming stands beside the manifest of the one before.
    let mut before = coming.clone();
    before.push(b'\n');
    fs::write(&manifest, before).expect("written");

    let mut command = bench.command();
    command.args(["flash", "--manifest", "out/rpi5/golden.json"]);
    command.args(["--target", "target.img", "--key", "signing.pub"]);
    command.args(["--yes", "--allow-file"]);
    let mut running = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gild runs");
    let mut lines = BufReader::new(running.stderr.take().expect("it is a pipe")).lines();
    let waits = lines.any(|line| line.is_ok_and(|line| line.contains("replacement")));
    fs::write(&manifest, coming).expect("written");
    lines.for_each(drop);
    assert!(waits);
    assert!(running.wait().is_ok_and(|status| status.success()));
}

#[test]
fn a_file_that_is_no_authority_s_certificate_is_refused_before_a_server_is_asked() {
    let bench = packed();
    let url = "https://127.0.0.1:1/rpi5/golden.json";
    let more = ["flash", "--manifest", url, "--target", "target.img"];
    // As DER begins.
    fs::write(bench.path("ca.der"), b"\x30\x82\x02\xf3\x30\x82").expect("a file");
    for (ca, why) in [("signing.pub", "no certificate"), ("ca.der", "in DER form")] {
        let keys = ["--key", "signing.pub", "--ca", ca];
        let ran = bench.gild(more.into_iter().chain(keys));
        ran.fails_saying(&[
            "is not the certificate of an authority",
            ca,
            why,
            "; next: ",
        ]);
    }
}

#[test]
fn an_nfs_server_that_is_not_there_is_fault_3() {
    let bench = packed();
    let port = gild_http_testkit::free_port().expect("a port");
    let url = format!("nfs://127.0.0.1:{port}/gild/rpi5/golden.json");
    let mut command = bench.command();
    command.args(["flash", "--manifest", &url, "--target", "target.img"]);
    command.args([
        "--key",
        "signing.pub",
        "--yes",
        "--allow-file",
        "--attempts",
        "3",
    ]);
    let ran = Ran::of(&mut command);
    let waits = ran.stderr.matches("waiting: ").count();
    assert_eq!(waits, 3, "{}", ran.stderr);
    assert_eq!(
        ran.stderr
            .lines()
            .last()
            .map(|line| line.matches("refused").count()),
        Some(1),
        "the cause is said once: {}",
        ran.stderr
    );
    refuses(&bench, ran, 3, &["waiting", "127.0.0.1"]);
}

/// A loop device, detached when dropped. Needs root.
struct Loop(String);

impl Loop {
    fn new(bench: &Bench, name: &str) -> Self {
        let ran = bench.tool("losetup", &["--find", "--show", "--partscan", name]);
        assert_eq!(
            ran.code,
            Some(0),
            "no loop device (run this as root, as `make test` does): {}",
            ran.stderr
        );
        Self(ran.stdout.trim().to_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        Ran::of(Command::new("losetup").args(["--detach", &self.0])).succeeds();
    }
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn a_disk_is_flashed_unless_it_is_mounted() {
    let bench = packed();
    let device = Loop::new(&bench, "target.img");
    bench.tool("mke2fs", &["-q", "-F", &device.0]).succeeds();
    bench.shell("mkdir mounted").succeeds();
    bench.tool("mount", &[&device.0, "mounted"]).succeeds();
    let ran = flash(&bench, &["--yes", "--target", &device.0]);
    bench.tool("umount", &["mounted"]).succeeds();
    assert_eq!(ran.code, Some(5), "{}", ran.stderr);
    ran.fails_saying(&["is mounted on", "mounted"]);

    flash(&bench, &["--yes", "--target", &device.0]).succeeds();
    // The disk has partitions now: no target in themselves, and in the way while they are in use.
    let root = format!("{}p2", device.0);
    // A kernel that was built without GPT needs help.
    bench
        .shell(&format!(
            "test -e {root} || partx --add --nr 2 {}",
            device.0
        ))
        .succeeds();
    let ran = flash(&bench, &["--yes", "--target", &root]);
    assert_eq!(ran.code, Some(5), "{}", ran.stderr);
    ran.fails_saying(&["is a partition", "name the whole disk"]);
    bench
        .tool("mount", &["-o", "ro", &root, "mounted"])
        .succeeds();
    let ran = flash(&bench, &["--yes", "--target", &device.0]);
    bench.tool("umount", &["mounted"]).succeeds();
    assert_eq!(ran.code, Some(5), "{}", ran.stderr);
    ran.fails_saying(&["is in use", "mounted"]);
    bench
        .gild([
            "image",
            "verify",
            "out",
            "--key",
            "signing.pub",
            "--raw",
            &device.0,
        ])
        .succeeds();
}

#[test]
fn an_image_is_never_written_over_its_own_files() {
    let bench = packed();
    bench.shell("ln -s out/rpi5/image.img.zst soft").succeeds();
    let files = ["out/rpi5/image.img.zst", "soft", "signing.pub"];
    let before = files.map(|file| bench.bytes(file));
    for target in files {
        let ran = flash(&bench, &["--target", target, "--allow-file", "--yes"]);
        ran.fails_saying(&[target, "is the input itself", "next: "]);
    }
    assert!(before == files.map(|file| bench.bytes(file)));
}

#[test]
fn a_file_is_the_target_of_one_flash_at_a_time() {
    let bench = packed();
    let target = File::open(bench.path("target.img")).expect("the target");
    target.lock().expect("a lock, as the other flash has it");
    let ran = flash(&bench, &["--allow-file", "--yes"]);
    refuses(&bench, ran, 5, &["target.img is in use", "next: "]);
    drop(target);
    flash(&bench, &["--allow-file", "--yes"]).succeeds();
}

#[test]
fn a_disk_that_is_written_is_said_to_be_when_nobody_reads_standard_output() {
    let bench = packed();
    let flash = |output: &str| {
        std::fs::write(bench.path("target.img"), noise(80 * MIB)).expect("written");
        let gild = env!("CARGO_BIN_EXE_gild");
        let ran = bench.shell(&format!(
            "code=0; {{ {gild} flash --manifest out/rpi5/golden.json --target target.img --key signing.pub --allow-file --yes || code=$?; echo \"ended with $code\" >&2; }} {output}"
        ));
        assert!(
            ran.stderr.contains("verified and committed"),
            "{}",
            ran.stderr
        );
        ran.stderr
    };
    let full = flash("> /dev/full");
    assert!(full.contains("ended with 10"), "{full}");
    assert!(
        full.contains("No space left on device") && full.contains("next: "),
        "{full}"
    );
    let closed = flash("| true");
    assert!(closed.contains("ended with 0"), "{closed}");
}

#[test]
fn a_target_without_room_is_not_said_to_be_a_bad_disk() {
    let bench = packed();
    fs::create_dir(bench.path("small")).expect("a folder");
    let script = format!(
        "truncate -s 80M small/target.img
         {} flash --manifest out/rpi5/golden.json --target small/target.img --key signing.pub --allow-file --yes && exit 3
         true",
        env!("CARGO_BIN_EXE_gild")
    );
    let said = bench.with_little_room("small", &script).succeeds().stderr;
    assert!(said.contains("make room on the file system"), "{said}");
    assert!(!said.contains("seat"), "{said}");
}
