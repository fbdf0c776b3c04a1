//! `gild image pack`: a disk image becomes a set that the stock tools accept, or nothing changes.

mod common;

use std::fs::{self, File};

use common::{BUILD_TIME, Bench, MIB, Ran, copy};
use gild_format::Manifest;

fn manifest(bench: &Bench, folder: &str) -> Manifest {
    Manifest::parse(&bench.bytes(&format!("{folder}/golden.json"))).expect("a sound manifest")
}

#[test]
fn the_stock_tools_accept_the_set() {
    let bench = Bench::with_disk();
    let id = bench.pack(&[]).succeeds().stdout.trim().to_owned();
    let names = [
        "golden.json",
        "golden.json.minisig",
        &format!("{id}.bmap"),
        &format!("{id}.img.zst"),
        &format!("{id}.json"),
        &format!("{id}.json.minisig"),
        &format!("{id}.sha256"),
    ];
    assert_eq!(bench.names("out/rpi5"), names);
    assert!(id.starts_with("rpi5-20260102-"), "{id}");
    let stored = format!("out/rpi5/{id}.img.zst");

    bench
        .tool("zstd", &["-q", "-d", &stored, "-o", "restored.img"])
        .succeeds();
    assert!(
        bench.bytes("restored.img") == bench.bytes("disk.img"),
        "zstd -d gives the raw image back"
    );
    bench
        .shell("cd out/rpi5 && sha256sum --strict -c *.sha256")
        .succeeds();
    for name in ["golden.json", &format!("{id}.json")] {
        bench
            .tool(
                "minisign",
                &["-V", "-p", "signing.pub", "-m", &format!("out/rpi5/{name}")],
            )
            .succeeds();
    }
    let bmap = format!("out/rpi5/{id}.bmap");
    bench
        .tool(
            "bmaptool",
            &["copy", "--bmap", &bmap, "restored.img", "copied.img"],
        )
        .succeeds();
    assert!(
        bench.bytes("copied.img") == bench.bytes("disk.img"),
        "bmaptool copies the whole image"
    );

    // bmaptool does check: a changed byte in a mapped chunk and a changed bmap file are refused.
    bench.flip("restored.img", 16 * MIB);
    bench
        .tool(
            "bmaptool",
            &["copy", "--bmap", &bmap, "restored.img", "copied.img"],
        )
        .fails_saying(&["checksum"]);
    let changed = String::from_utf8(bench.bytes(&bmap))
        .expect("text")
        .replacen("<BlockSize> 4096", "<BlockSize>  4096", 1);
    fs::write(bench.path("changed.bmap"), changed).expect("written");
    bench
        .tool(
            "bmaptool",
            &["copy", "--bmap", "changed.bmap", "disk.img", "copied.img"],
        )
        .fails_saying(&["checksum"]);
}

#[test]
fn the_manifest_tells_data_from_holes_and_names_the_partitions() {
    let bench = Bench::with_disk();
    // Zeros that are written out are holes as much as those the file system never stored.
    bench.poke("disk.img", 4 * MIB, &vec![0; 4 << 20]);
    bench
        .pack(&["--rollback-counter", "7", "--id", "first"])
        .succeeds();
    let manifest = manifest(&bench, "out/rpi5");
    assert!(!manifest.proves_itself);
    assert_eq!(
        (
            manifest.image_id.as_str(),
            manifest.rollback_counter,
            manifest.raw_size
        ),
        ("first", 7, 64 * MIB)
    );
    let disk = bench.bytes("disk.img");
    for chunk in &manifest.chunks {
        let start = usize::try_from(chunk.raw_offset).expect("fits");
        let raw = &disk[start..start + chunk.raw_length as usize];
        assert_eq!(
            chunk.hole,
            raw.iter().all(|&byte| byte == 0),
            "chunk at {start}"
        );
    }
    assert!(manifest.chunks[1].hole && !manifest.chunks[0].hole);
    let partitions: Vec<_> = manifest
        .partitions
        .iter()
        .map(|p| (p.number, p.start, p.length, p.name.as_str()))
        .collect();
    assert_eq!(
        partitions,
        [
            (1, 16 * MIB, 8 * MIB, "boot"),
            (2, 24 * MIB, 32 * MIB, "root")
        ]
    );
}

#[test]
fn two_packs_of_one_image_give_the_same_bytes() {
    let bench = Bench::with_disk();
    bench.pack(&[]).succeeds();
    bench.pack(&["--output", "again"]).succeeds();
    let names = bench.names("out/rpi5");
    assert_eq!(bench.names("again/rpi5"), names);
    // A minisign signature is made with fresh random bytes; all else is the same.
    for name in names.iter().filter(|name| !name.ends_with(".minisig")) {
        assert!(
            bench.bytes(&format!("out/rpi5/{name}")) == bench.bytes(&format!("again/rpi5/{name}")),
            "{name}"
        );
    }
}

#[test]
fn the_build_time_comes_from_the_environment() {
    let bench = Bench::with_disk();
    let mut command = bench.command();
    command.args([
        "image",
        "pack",
        "disk.img",
        "--board",
        "rpi5",
        "--key",
        "signing.key",
        "--output",
        "out",
    ]);
    Ran::of(command.env("SOURCE_DATE_EPOCH", "0")).succeeds();
    assert_eq!(manifest(&bench, "out/rpi5").build_time, 0);
    assert!(
        manifest(&bench, "out/rpi5")
            .image_id
            .starts_with("rpi5-19700101-")
    );
    Ran::of(command.env("SOURCE_DATE_EPOCH", "today"))
        .fails_saying(&["SOURCE_DATE_EPOCH", "today"]);
}

#[test]
fn packing_what_is_there_already_changes_nothing_and_mends_what_is_lost() {
    let bench = Bench::with_disk();
    bench.pack(&["--id", "same"]).succeeds();
    let before: Vec<_> = bench
        .names("out/rpi5")
        .into_iter()
        .map(|name| bench.bytes(&format!("out/rpi5/{name}")))
        .collect();
    fs::remove_file(bench.path("out/rpi5/same.img.zst")).expect("removed");
    // Later, but with the same content: the manifest that nodes know stays, to the byte.
    bench
        .pack(&["--id", "same", "--build-time", "1790000000"])
        .succeeds();
    let after: Vec<_> = bench
        .names("out/rpi5")
        .into_iter()
        .map(|name| bench.bytes(&format!("out/rpi5/{name}")))
        .collect();
    assert!(before == after);
}

#[test]
fn a_new_key_signs_the_manifest_that_is_there() {
    let bench = Bench::with_disk();
    bench.pack(&["--id", "same"]).succeeds();
    let before = bench.bytes("out/rpi5/same.json");
    for name in ["signing.key", "signing.pub"] {
        fs::remove_file(bench.path(name)).expect("removed");
    }
    bench.gild(["key", "new", "--output", "signing"]).succeeds();
    bench
        .pack(&["--id", "same", "--build-time", "1790000000"])
        .succeeds();
    // The bytes that flashed nodes know by their digest stay.
    assert!(before == bench.bytes("out/rpi5/same.json"));
    bench
        .gild(["image", "verify", "out", "--key", "signing.pub"])
        .succeeds();
}

#[test]
fn a_lost_signature_is_put_back() {
    let bench = Bench::with_disk();
    bench.pack(&["--id", "same"]).succeeds();
    let before = bench.bytes("out/rpi5/same.json");
    fs::remove_file(bench.path("out/rpi5/same.json.minisig")).expect("removed");
    bench
        .pack(&["--id", "same", "--build-time", "1790000000"])
        .succeeds();
    assert!(before == bench.bytes("out/rpi5/same.json"));
    bench
        .gild(["image", "verify", "out", "--key", "signing.pub"])
        .succeeds();
}

/// Anyone who can write to the folder must not have a counter signed that shuts out all images to come, or a field of their own.
#[test]
fn nothing_is_signed_that_another_wrote_into_the_manifest() {
    let bench = Bench::with_disk();
    bench.pack(&["--id", "same"]).succeeds();
    let text = String::from_utf8(bench.bytes("out/rpi5/same.json")).expect("text");
    let counter = |value: u64| format!("\"rollback_counter\":{value}");
    let compact = text.replace("\"rollback_counter\": ", "\"rollback_counter\":");
    let high = compact.replace(&counter(1_767_312_000), &counter(u64::MAX));
    assert_ne!(high, compact);
    let more = text.replacen('{', "{\"more\": 1,", 1);
    for changed in [high, more] {
        fs::write(bench.path("out/rpi5/same.json"), changed).expect("written");
        bench.pack(&["--id", "same"]).succeeds();
        let signed = String::from_utf8(bench.bytes("out/rpi5/same.json")).expect("text");
        assert_eq!(signed, text);
        bench
            .gild(["image", "verify", "out", "--key", "signing.pub"])
            .succeeds();
    }
}

#[test]
fn an_image_id_never_gets_other_content() {
    let bench = Bench::with_disk();
    bench.pack(&["--id", "taken"]).succeeds();
    let before = (
        bench.names("out/rpi5"),
        bench.bytes("out/rpi5/taken.img.zst"),
    );
    let original = bench.bytes("disk.img");
    bench.make_disk("disk.img", "another");
    bench
        .pack(&["--id", "taken"])
        .fails_saying(&["taken", "other content", "--id"]);
    fs::write(bench.path("disk.img"), original).expect("the disk as it was");
    bench
        .pack(&["--id", "taken", "--proves-itself"])
        .fails_saying(&["taken", "--proves-itself", "--output"]);
    // At another time, which is the counter where none is given.
    bench.pack(&["--id", "taken"]).succeeds();
    bench
        .pack(&["--id", "taken", "--rollback-counter", "1"])
        .fails_saying(&["taken", "--rollback-counter", "--output"]);
    assert!(
        before
            == (
                bench.names("out/rpi5"),
                bench.bytes("out/rpi5/taken.img.zst")
            )
    );
    bench
        .gild(["image", "verify", "out", "--key", "signing.pub"])
        .succeeds();
}

#[test]
fn an_mbr_disk_is_packed_too() {
    let bench = Bench::new();
    File::create(bench.path("disk.img"))
        .and_then(|file| file.set_len(20 * MIB))
        .expect("a file");
    bench.sfdisk(
        "disk.img",
        "label: dos\nstart=2048, size=8192, type=c\nstart=10240, size=8192, type=83\n",
    );
    bench.pack(&[]).succeeds();
    let kinds: Vec<_> = manifest(&bench, "out/rpi5")
        .partitions
        .into_iter()
        .map(|partition| partition.kind)
        .collect();
    assert_eq!(kinds, ["0xc", "0x83"]);
}

#[test]
fn a_partition_table_counts_in_the_sectors_it_was_made_for() {
    let bench = Bench::with_disk();
    let mut disk = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(bench.path("4k.img"))
        .expect("a file");
    disk.set_len(20 * MIB).expect("a size");
    let mut gpt = gptman::GPT::new_from(&mut disk, 4096, [7; 16]).expect("a GPT");
    gpt[1] = gptman::GPTPartitionEntry {
        partition_type_guid: [8; 16],
        unique_partition_guid: [9; 16],
        starting_lba: 1024,
        ending_lba: 2047,
        attribute_bits: 0,
        partition_name: "root".into(),
    };
    gpt.write_into(&mut disk).expect("written");
    gptman::GPT::write_protective_mbr_into(&mut disk, 4096).expect("written");
    let pack = |disk, size| Ran::of(&mut bench.pack_command(disk, &["--sector-size", size]));
    pack("4k.img", "4096").succeeds();
    let manifest = manifest(&bench, "out/rpi5");
    assert_eq!(
        (
            manifest.sector_size,
            manifest.partitions[0].start,
            manifest.partitions[0].length
        ),
        (4096, 4 * MIB, 4 * MIB)
    );
    pack("4k.img", "512").fails_saying(&["no partition table for sectors of 512"]);
    pack("disk.img", "4096").fails_saying(&["no partition table for sectors of 4096"]);
}

/// What is wrong, how `disk.img` comes to be so, and what must be said.
type Refusal = (&'static str, fn(&Bench), &'static [&'static str]);

const REFUSALS: &[Refusal] = &[
    (
        "missing",
        |b| fs::remove_file(b.path("disk.img")).expect("removed"),
        &["the disk image disk.img is not there; next: "],
    ),
    (
        "a folder",
        |b| {
            fs::remove_file(b.path("disk.img")).expect("removed");
            fs::create_dir(b.path("disk.img")).expect("made");
        },
        &["is not a file"],
    ),
    (
        "a pipe",
        |b| {
            fs::remove_file(b.path("disk.img")).expect("removed");
            b.tool("mkfifo", &["disk.img"]).succeeds();
        },
        &["is not a file"],
    ),
    ("empty", |b| resize(b, 0), &["is empty"]),
    (
        "half a sector",
        |b| resize(b, 64 * MIB - 100),
        &["not a multiple of the sector size 512"],
    ),
    ("tiny", |b| resize(b, MIB), &["nothing after the first MiB"]),
    ("cut off", |b| resize(b, 32 * MIB), &["disk.img"]),
    (
        "no partition table",
        |b| {
            resize(b, 0);
            resize(b, 64 * MIB);
        },
        &["no partition table"],
    ),
    (
        "a file system on the bare disk",
        |b| {
            resize(b, 0);
            resize(b, 64 * MIB);
            b.tool("mke2fs", &["-q", "-F", "disk.img"]).succeeds();
        },
        &["no partition table"],
    ),
    (
        "no partitions",
        |b| b.sfdisk("disk.img", "label: gpt\n"),
        &["is empty"],
    ),
    (
        "partitions that overlap",
        |b| {
            resize(b, 0);
            resize(b, 64 * MIB);
            b.sfdisk(
                "disk.img",
                "label: dos\nstart=2048, size=8192\nstart=10240, size=8192\n",
            );
            // sfdisk makes none, so the first entry of the MBR is made one sector longer.
            b.poke("disk.img", 446 + 12, &8193_u32.to_le_bytes());
        },
        &["partitions: 1 and 2 overlap"],
    ),
    (
        "a partition below 1 MiB",
        |b| {
            b.sfdisk(
                "disk.img",
                "label: gpt\nfirst-lba: 34\nstart=1024, size=16384\n",
            );
        },
        &["partition 1", "starts at byte 524288", "1 MiB"],
    ),
    (
        "data in the record's place",
        |b| b.poke("disk.img", 0x10_0000 - 1, &[1]),
        &["0xff000", "commit record"],
    ),
    (
        "data in the network block's place",
        |b| b.poke("disk.img", 0xff000 - 1, &[1]),
        &["0xfe000 to 0xff000", "network block"],
    ),
];

fn resize(bench: &Bench, size: u64) {
    File::options()
        .write(true)
        .open(bench.path("disk.img"))
        .and_then(|file| file.set_len(size))
        .expect("resized");
}

/// Compressing, which may take minutes, tells how far it is.
fn before_any_work(refused: &Ran) -> bool {
    !refused.stderr.contains("pack: ")
}

#[test]
fn what_cannot_become_a_golden_image_is_refused_with_nothing_left_behind() {
    let bench = Bench::with_disk();
    copy(&bench.path("disk.img"), &bench.path("sound.img"));
    for (name, spoil, words) in REFUSALS {
        let _ = fs::remove_dir(bench.path("disk.img"));
        let _ = fs::remove_file(bench.path("disk.img"));
        copy(&bench.path("sound.img"), &bench.path("disk.img"));
        spoil(&bench);
        let ran = bench.pack(&[]).fails_saying(words);
        eprintln!("{name}: {}", ran.stderr);
        assert!(before_any_work(&ran), "{name}");
        assert_eq!(bench.names("out/rpi5"), [""; 0], "{name}");
    }
}

#[test]
fn wrong_arguments_are_refused() {
    let bench = Bench::with_disk();
    bench
        .pack(&["--board", "rpi6"])
        .fails_saying(&[
            "`rpi6` is not a board that gild knows (did you mean `rpi5`?); next: give one of rpi5, rock5b",
        ]);
    let long = "x".repeat(129);
    for (id, words) in [("../../etc", "is not a name"), (&long, "longer than 128")] {
        let ran = bench.pack(&["--id", id]).fails_saying(&["--id", words]);
        assert!(before_any_work(&ran), "{}", ran.stderr);
    }
    bench
        .pack(&["--sector-size", "520"])
        .fails_saying(&["512 or 4096"]);
    bench.pack(&["--level", "23"]).fails_saying(&["23"]);
    let pack = |key| {
        bench.gild([
            "image", "pack", "disk.img", "--board", "rpi5", "--key", key, "--output", "out",
        ])
    };
    pack("nowhere.key").fails_saying(&["the secret key nowhere.key is not there; next: "]);
    pack("signing.pub").fails_saying(&[
        "signing.pub is a public key, and only the secret key can sign; next: give the file that ends in .key",
    ]);
    fs::write(bench.path("text"), "untrusted comment: a text\na text\n").expect("written");
    for text in ["text", "/dev/null"] {
        pack(text).fails_saying(&[text, "is not a minisign secret key; next: "]);
    }
    assert_eq!(bench.names("out/rpi5"), [""; 0]);
}

#[test]
fn an_image_that_changes_while_it_is_read_is_refused() {
    type Change = (&'static str, fn(&Bench), &'static str);
    let changes: [Change; 4] = [
        (
            "written to",
            |b| b.poke("disk.img", 60 * MIB, &[1]),
            "changed while it was read",
        ),
        (
            "longer",
            |b| resize(b, 65 * MIB),
            "changed while it was read",
        ),
        ("shorter", |b| resize(b, 2 * MIB), "disk.img"),
        (
            "gone",
            |b| fs::remove_file(b.path("disk.img")).expect("removed"),
            "vanished",
        ),
    ];
    for (name, change, words) in changes {
        let bench = Bench::with_disk();
        let packing = bench.stopped_pack(&[]);
        change(&bench);
        eprintln!(
            "{name}: {}",
            packing.goes_on().fails_saying(&[words]).stderr
        );
        assert_eq!(bench.names("out/rpi5"), [""; 0], "{name}");
    }
}

#[test]
fn a_killed_pack_leaves_the_release_before_it_whole() {
    let bench = Bench::with_disk();
    bench.pack(&["--id", "before"]).succeeds();
    let before = bench.names("out/rpi5");
    bench.make_disk("disk.img", "after");
    bench.stopped_pack(&["--id", "after"]).gets_killed();
    let left: Vec<String> = bench
        .names("out/rpi5")
        .into_iter()
        .filter(|name| !before.contains(name))
        .collect();
    assert!(left.len() == 1 && left[0].starts_with(".gild-"), "{left:?}");
    assert_eq!(manifest(&bench, "out/rpi5").image_id, "before");
    bench
        .gild(["image", "verify", "out", "--key", "signing.pub"])
        .succeeds();

    // While this has the folder's lock, nobody writes what was left behind.
    let prune = ["image", "prune", "out", "--keep", "1"];
    let said = bench.gild(prune).succeeds().stderr;
    assert!(
        said.contains(&format!("would remove out/rpi5/{}", left[0])),
        "{said}"
    );
    assert!(bench.path("out/rpi5").join(&left[0]).exists());
    bench.pack(&["--id", "after"]).succeeds();
    assert!(!bench.path("out/rpi5").join(&left[0]).exists());
    assert_eq!(manifest(&bench, "out/rpi5").image_id, "after");
    bench
        .gild(["image", "verify", "out", "--key", "signing.pub"])
        .succeeds();
    bench
        .gild([
            "image",
            "verify",
            "out/rpi5/before.json",
            "--key",
            "signing.pub",
        ])
        .succeeds();
}

#[test]
fn two_packs_into_one_folder_do_not_mix() {
    let bench = Bench::with_disk();
    let first = bench.stopped_pack(&[]);
    bench
        .pack(&[])
        .fails_saying(&["another gild is writing", "wait"]);
    first.goes_on().succeeds();
    bench
        .gild(["image", "verify", "out", "--key", "signing.pub"])
        .succeeds();
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let bench = Bench::with_disk();
    fs::create_dir(bench.path("out")).expect("a folder");
    let script = format!(
        "{} image pack disk.img --board rpi5 --key signing.key --output out --build-time {BUILD_TIME} && exit 3
         test -z \"$(ls -A out/rpi5)\"",
        env!("CARGO_BIN_EXE_gild")
    );
    let ran = bench.with_little_room("out", &script).succeeds();
    for words in ["out/rpi5", "No space left on device", "next: make room"] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
}

#[test]
fn a_disk_image_is_never_replaced_by_the_image_that_is_made_of_it() {
    let bench = Bench::with_disk();
    fs::create_dir_all(bench.path("out/rpi5")).expect("a folder");
    let disk = "out/rpi5/mine.img.zst";
    fs::rename(bench.path("disk.img"), bench.path(disk)).expect("renamed");
    let before = bench.bytes(disk);
    Ran::of(&mut bench.pack_command(disk, &["--id", "mine"])).fails_saying(&[
        disk,
        "is the input itself",
        "next: ",
    ]);
    assert!(bench.bytes(disk) == before);
}

#[test]
fn what_is_not_a_raw_disk_image_is_said_to_be_what_it_is() {
    let bench = Bench::with_disk();
    bench
        .shell("dd if=disk.img of=root.img bs=1M skip=24 count=32 status=none; zstd -q -1 disk.img -o disk.img.zst; gzip -1 -k disk.img")
        .succeeds();
    for (disk, words) in [
        ("disk.img.zst", "compressed (zstd); next: unpack it"),
        ("disk.img.gz", "compressed (gzip); next: unpack it"),
        (
            "root.img",
            "has no partition table, because it is a file system (ext4); next: ",
        ),
    ] {
        Ran::of(&mut bench.pack_command(disk, &[])).fails_saying(&[disk, words]);
    }
}
