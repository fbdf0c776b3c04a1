//! `gild image inspect` and `verify --sealed`: an image that breaks the rules is refused by a message and by the exit code.
//!
//! What each rule finds is tested in gild-inspect; the image here is a plain disk with two file systems.

mod common;

use common::Bench;

fn packed() -> Bench {
    let bench = Bench::with_disk();
    bench.pack(&["--id", "image"]).succeeds();
    bench
}

#[test]
fn a_raw_image_and_a_published_one_are_judged_alike() {
    let bench = packed();
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
fn verify_asks_for_the_seal_only_when_told_to() {
    let bench = packed();
    let verify = ["image", "verify", "out", "--key", "signing.pub"];
    bench.gild(verify).succeeds();
    bench
        .gild(verify.into_iter().chain(["--sealed"]))
        .fails_saying(&["does not pass", "FAILED machine-id"]);
}

#[test]
fn this_host_is_left_out_when_told_so() {
    let bench = packed();
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
    let bench = packed();
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
