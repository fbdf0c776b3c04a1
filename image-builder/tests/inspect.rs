//! `gild image inspect` and `verify --sealed`: an image that breaks the rules is refused by a message and by the exit code.
//!
//! What each rule finds is tested in gild-inspect; the image here is a plain disk with two file systems.

mod common;

use std::fs::File;

use common::{Bench, MIB};

#[test]
fn a_raw_image_and_a_published_one_are_judged_alike() {
    let bench = Bench::packed();
    for (image, report) in [("disk.img", "raw.json"), ("out/rpi5", "published.json")] {
        bench
            .gild(["image", "inspect", image, "--json", report])
            .fails_saying(&[image, "must not be flashed"]);
    }
    let report = bench.bytes("raw.json");
    assert!(
        report == bench.bytes("published.json"),
        "the reports differ"
    );
    let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
    let sum = bench.tool("sha256sum", &["disk.img"]).succeeds().stdout;
    assert_eq!(report["image_sha256"], sum[..64]);
    let rules = report["rules"].as_array().expect("a list");
    let machine_id = rules.iter().find(|rule| rule["id"] == "machine-id");
    assert_eq!(machine_id.expect("the rule")["passed"], false);
}

#[test]
fn a_report_takes_the_place_of_no_input() {
    let bench = Bench::packed();
    let inputs = ["disk.img", "out/rpi5/image.json", "out/rpi5/image.img.zst"];
    let before = inputs.map(|input| bench.bytes(input));
    for (image, json) in [
        ("disk.img", "disk.img"),
        ("out/rpi5/image.json", "out/rpi5/image.json"),
        ("out/rpi5/image.json", "out/rpi5/image.img.zst"),
    ] {
        bench
            .gild(["image", "inspect", image, "--json", json])
            .fails_saying(&[json, "is the input itself", "next: "]);
    }
    assert!(before == inputs.map(|input| bench.bytes(input)));
}

#[test]
fn an_image_for_disks_with_large_sectors_is_read_as_such() {
    let bench = Bench::with_disk();
    bench
        .shell(
            "truncate -s 350M 4k.img; truncate -s 300M p1; mkfs.vfat -F 32 -s 1 -S 4096 -n GILDBOOT p1 >out.txt
             dd if=p1 of=4k.img bs=1M seek=16 conv=notrunc,sparse; dd if=disk.img of=4k.img bs=1M skip=24 seek=316 count=32 conv=notrunc",
        )
        .succeeds();
    let mut disk = File::options()
        .read(true)
        .write(true)
        .open(bench.path("4k.img"))
        .expect("a file");
    let mut gpt = gptman::GPT::new_from(&mut disk, 4096, [7; 16]).expect("a GPT");
    for (number, start, length) in [(1_u8, 16 * MIB, 300 * MIB), (2, 316 * MIB, 32 * MIB)] {
        gpt[number.into()] = gptman::GPTPartitionEntry {
            partition_type_guid: [8; 16],
            unique_partition_guid: [number; 16],
            starting_lba: start / 4096,
            ending_lba: (start + length) / 4096 - 1,
            attribute_bits: 0,
            partition_name: "a".into(),
        };
    }
    gpt.write_into(&mut disk).expect("written");
    gptman::GPT::write_protective_mbr_into(&mut disk, 4096).expect("written");
    let said = bench
        .gild(["image", "inspect", "4k.img"])
        .fails_saying(&["must not be flashed"])
        .stdout;
    assert!(said.contains("FAILED machine-id"), "{said}");
    for rule in ["partition-table", "unused-space"] {
        assert!(!said.contains(&format!("FAILED {rule}")), "{said}");
    }
}

#[test]
fn verify_asks_for_the_seal_only_when_told_to() {
    let bench = Bench::packed();
    let verify = ["image", "verify", "out", "--key", "signing.pub"];
    bench.gild(verify).succeeds();
    bench
        .gild(verify.into_iter().chain(["--sealed"]))
        .fails_saying(&["does not pass", "FAILED machine-id"]);
}

#[test]
fn this_host_is_left_out_when_told_so() {
    let bench = Bench::packed();
    for command in [
        &["image", "inspect", "disk.img"][..],
        &["image", "verify", "out", "--sealed"],
    ] {
        let said = |more: &[&str]| {
            let ran = bench.gild(command.iter().chain(more).copied());
            format!("{}{}", ran.stdout, ran.stderr)
        };
        let nothing = "no texts of the build host were looked for";
        assert!(said(&["--not-this-host"]).contains(nothing));
        assert!(!said(&[]).contains(nothing));
    }
}

#[test]
fn an_exemption_of_no_rule_and_a_canary_that_is_too_short_are_refused() {
    let bench = Bench::packed();
    bench
        .gild([
            "image",
            "inspect",
            "disk.img",
            "--exempt",
            "machine-ids=etc/*",
        ])
        .fails_saying(&["there is no such rule"]);
    bench
        .shell("printf 'long enough\\nshort\\n' > canaries")
        .succeeds();
    bench
        .gild(["image", "inspect", "disk.img", "--canary-file", "canaries"])
        .fails_saying(&["line 2", "8 bytes"]);
}
