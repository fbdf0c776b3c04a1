//! `gild image list`, `current` and `prune`: a folder keeps several images, and nodes get one of them.

mod common;

use std::fs;
use std::sync::OnceLock;

use common::Bench;
use gild_format::Manifest;

/// Three images with growing counters, the last one current.
fn three() -> Bench {
    static MADE: OnceLock<Vec<u8>> = OnceLock::new();
    Bench::like(&MADE, || {
        let bench = Bench::with_disk();
        for (id, counter) in [("one", "10"), ("two", "20"), ("three", "30")] {
            bench.make_disk("disk.img", id);
            bench
                .pack(&["--id", id, "--rollback-counter", counter])
                .succeeds();
        }
        bench
    })
}

fn golden(bench: &Bench) -> Manifest {
    Manifest::parse(&bench.bytes("out/rpi5/golden.json")).expect("sound")
}

fn current(bench: &Bench) -> (String, u64) {
    let manifest = golden(bench);
    (manifest.image_id, manifest.rollback_counter)
}

#[test]
fn a_list_names_each_image_the_current_one_and_what_is_wrong() {
    let bench = three();
    bench.flip("out/rpi5/two.json", 0);
    fs::remove_file(bench.path("out/rpi5/one.img.zst")).expect("removed");
    let text = bench.gild(["image", "list", "out"]).succeeds().stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "out/rpi5", "{text}");
    let begins = |line: usize, words: &str| assert!(lines[line].starts_with(words), "{text}");
    begins(1, "  * three  built 2026-01-02  counter 30  ");
    begins(2, "    one  built 2026-01-02  counter 10  ");
    assert!(
        lines[2].ends_with("the stored image is not there, or not whole"),
        "{text}"
    );
    begins(3, "    two  the manifest is damaged: ");
    assert_eq!(lines.len(), 4, "{text}");

    let json = bench
        .gild(["image", "list", "out/rpi5", "--json"])
        .succeeds()
        .stdout;
    let images: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(images[0]["image_id"], "three");
    assert_eq!(images[0]["current"], true);
    assert_eq!(images[0]["board"], "rpi5");
    assert_eq!(images[0]["rollback_counter"], 30);
    assert_eq!(images[0]["problem"], serde_json::Value::Null);
    assert_eq!(images[2]["current"], false);
    assert_eq!(images[2]["board"], serde_json::Value::Null);

    // A pipe, which nobody ever writes to, and a time beyond all calendars.
    bench.shell("mkfifo out/rpi5/pipe.json").succeeds();
    let one = String::from_utf8(bench.bytes("out/rpi5/one.json")).expect("text");
    let late = one.replace("1767312000", "18446744073709551615");
    fs::write(bench.path("out/rpi5/one.json"), late).expect("written");
    let text = bench.gild(["image", "list", "out"]).succeeds().stdout;
    assert!(
        text.contains("one  the manifest is damaged: 18446744073709551615 is not"),
        "{text}"
    );

    bench
        .gild(["image", "list", "disk.img.tree"])
        .fails_saying(&["no image in disk.img.tree", "next:"]);
}

#[test]
fn an_older_image_becomes_current_with_a_counter_that_nodes_take() {
    let bench = three();
    let before = current(&bench);
    bench
        .gild(["image", "current", "out", "one"])
        .fails_saying(&["counter 10 is lower than 30", "fault 4", "next: give --key"]);
    assert_eq!(current(&bench), before);

    let back = ["image", "current", "out", "one", "--key", "signing.key"];
    bench.gild(back).succeeds();
    assert_eq!(current(&bench), ("one".to_owned(), 31));
    let verify = ["image", "verify", "out", "--key", "signing.pub"];
    bench.gild(verify).succeeds();
    // Once more: nothing to do, and no higher counter.
    bench.gild(back).succeeds();
    bench
        .gild(["image", "current", "out/rpi5", "one"])
        .succeeds();
    assert_eq!(current(&bench), ("one".to_owned(), 31));

    bench
        .gild(["image", "current", "out", "three", "--key", "signing.key"])
        .succeeds();
    assert_eq!(current(&bench), ("three".to_owned(), 32));
    bench.gild(verify).succeeds();
    bench
        .gild(["image", "current", "out", "four"])
        .fails_saying(&["image four is not in out", "next:", "gild image list out"]);
}

/// Anyone who can write to the share must not get anything signed, nor made current.
#[test]
fn nothing_is_signed_that_was_changed_on_the_share() {
    let bench = three();
    let before = current(&bench);
    let back = ["image", "current", "out", "one", "--key", "signing.key"];
    bench.gild(["key", "new", "--output", "other"]).succeeds();
    bench
        .gild(["image", "current", "out", "one", "--key", "other.key"])
        .fails_saying(&[
            "not one that this key has signed",
            "next:",
            "signed with another key",
        ]);

    let manifest = String::from_utf8(bench.bytes("out/rpi5/one.json")).expect("text");
    let changed = manifest.replace("\"build_time\": 1767312000", "\"build_time\": 1767312001");
    let changed = changed.replace("\"build_time\":1767312000", "\"build_time\":1767312001");
    assert_ne!(manifest, changed);
    fs::write(bench.path("out/rpi5/one.json"), changed).expect("written");
    bench
        .gild(back)
        .fails_saying(&["cannot make image one the current one", "signature"]);
    fs::write(bench.path("out/rpi5/one.json"), &manifest).expect("written");

    // Another image that the key has signed, in its place.
    let one = ["one.json", "one.json.minisig"].map(|name| bench.bytes(&format!("out/rpi5/{name}")));
    for ending in ["json", "json.minisig"] {
        let at = |id: &str| bench.path(&format!("out/rpi5/{id}.{ending}"));
        common::copy(&at("two"), &at("one"));
    }
    bench
        .gild(back)
        .fails_saying(&["it belongs to image two", "next:"]);
    let put_back = || {
        fs::write(bench.path("out/rpi5/one.json"), &one[0]).expect("written");
        fs::write(bench.path("out/rpi5/one.json.minisig"), &one[1]).expect("written");
    };
    put_back();

    // The folder of another board.
    let copied = "mkdir other && cp -a out/rpi5 other/rock5b";
    bench.shell(copied).succeeds();
    let words = ["it is for rpi5, and this folder is for rock5b", "next:"];
    bench
        .gild(["image", "current", "other", "one", "--key", "signing.key"])
        .fails_saying(&words);
    let gild = env!("CARGO_BIN_EXE_gild");
    bench
        .shell(&format!(
            "cd other/rock5b && {gild} image current . one --key ../../signing.key"
        ))
        .fails_saying(&words);

    // A number that nobody signed is neither counted nor passed over.
    let absurd = manifest.replace("\"one\"", "\"absurd\"");
    let absurd = absurd.replace("one.img.zst", "absurd.img.zst");
    let absurd = absurd.replace(
        "\"rollback_counter\":10",
        "\"rollback_counter\":1000000000000",
    );
    let absurd = absurd.replace(
        "\"rollback_counter\": 10",
        "\"rollback_counter\": 1000000000000",
    );
    assert!(absurd.contains("1000000000000"), "{absurd}");
    fs::write(bench.path("out/rpi5/absurd.json"), absurd).expect("written");
    bench.gild(back).fails_saying(&[
        "is 1000000000000, and this key has not signed it: absurd.json",
        "next:",
    ]);
    fs::remove_file(bench.path("out/rpi5/absurd.json")).expect("removed");

    bench.flip("out/rpi5/one.img.zst", 4096);
    bench
        .gild(back)
        .fails_saying(&["one.img.zst has SHA-256", "next:"]);
    fs::remove_file(bench.path("out/rpi5/one.json.minisig")).expect("removed");
    bench.flip("out/rpi5/one.img.zst", 4096);
    bench
        .gild(["image", "current", "out", "one"])
        .fails_saying(&["signature is lost"]);
    assert_eq!(current(&bench), before);
}

/// A power cut between two of the renames.
#[test]
fn an_image_that_was_half_signed_again_is_finished() {
    let bench = three();
    let back = ["image", "current", "out", "one", "--key", "signing.key"];
    let names = ["one.json", "golden.json", "golden.json.minisig"];
    let before = names.map(|name| bench.bytes(&format!("out/rpi5/{name}")));
    bench.gild(back).succeeds();
    for (name, bytes) in names.iter().zip(before) {
        fs::write(bench.path(&format!("out/rpi5/{name}")), bytes).expect("written");
    }
    bench.gild(back).succeeds();
    assert_eq!(current(&bench), ("one".to_owned(), 31));
    bench
        .gild(["image", "verify", "out", "--key", "signing.pub"])
        .succeeds();
}

#[test]
fn an_image_that_was_signed_again_can_be_published_again() {
    let bench = three();
    bench.shell("mkdir share && cp -a out first").succeeds();
    let publish = ["image", "publish", "first", "--to", "share"];
    let with_key = [publish.as_slice(), &["--key", "signing.pub"]].concat();
    bench.gild(publish).succeeds();
    // An image with a higher counter, and back.
    bench.make_disk("disk.img", "four");
    bench
        .pack(&[
            "--id",
            "four",
            "--rollback-counter",
            "40",
            "--output",
            "next",
        ])
        .succeeds();
    bench
        .gild(["image", "publish", "next", "--to", "share"])
        .succeeds();
    let ran = bench.gild(with_key.clone()).succeeds();
    assert!(
        ran.stderr
            .contains("nodes that have started that one refuse it"),
        "{}",
        ran.stderr
    );
    bench
        .gild(["image", "current", "share", "three", "--key", "signing.key"])
        .succeeds();
    bench
        .gild(publish)
        .fails_saying(&["was signed again in share/rpi5", "next: give --key"]);
    bench.flip("share/rpi5/three.img.zst", 4096);
    bench.gild(with_key).succeeds();
    let verify = ["image", "verify", "share", "--key", "signing.pub"];
    bench.gild(verify).succeeds();
    let manifest = Manifest::parse(&bench.bytes("share/rpi5/golden.json")).expect("sound");
    assert_eq!(
        (&*manifest.image_id, manifest.rollback_counter),
        ("three", 41)
    );
}

#[test]
fn an_id_whose_files_would_be_another_image_s_is_refused() {
    let bench = Bench::with_disk();
    for id in [
        "golden",
        "golden-canary",
        "golden2",
        "one.build",
        "one.spdx",
        "one.inspection",
    ] {
        bench.pack(&["--id", id]).fails_saying(&[
            id,
            "is not an id for an image",
            "next: give another --id",
        ]);
    }
    bench.pack(&["--id", "one.built"]).succeeds();
}

#[test]
fn a_channel_has_an_image_of_its_own_that_stays() {
    let bench = three();
    let before = current(&bench);
    let channel = |id: &str, more: &[&str]| {
        let mut args = vec!["image", "current", "out", id, "--channel", "canary"];
        args.extend(more);
        bench.gild(args)
    };
    channel("one", &[])
        .fails_saying(&["that of the channel canary", "counter 10 is lower than 30"]);
    channel("one", &["--key", "signing.key"]).succeeds();
    let canary = || Manifest::parse(&bench.bytes("out/rpi5/golden-canary.json")).expect("sound");
    assert_eq!(
        (&*canary().image_id, canary().rollback_counter),
        ("one", 31)
    );
    let verify = [
        "image",
        "verify",
        "out/rpi5/golden-canary.json",
        "--key",
        "signing.pub",
    ];
    bench.gild(verify).succeeds();
    assert_eq!(current(&bench), before, "the others get what they got");
    let text = bench.gild(["image", "list", "out"]).succeeds().stdout;
    assert!(
        text.contains("    one  built 2026-01-02  counter 31  ")
            && text.contains(" MiB  channel canary\n")
            && text.contains("  * three  "),
        "{text}"
    );
    let json = bench.gild(["image", "list", "out", "--json"]).succeeds();
    let images: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(images[0]["channels"], serde_json::json!(["canary"]));
    // Its counter counts, also if the image's own manifest is lost: a node that ran the canary takes the next current one.
    let (own, lost) = (bench.path("out/rpi5/one.json"), bench.path("one.json"));
    fs::rename(&own, &lost).expect("moved");
    bench
        .gild(["image", "current", "out", "three", "--key", "signing.key"])
        .succeeds();
    assert_eq!(current(&bench), ("three".to_owned(), 32));
    fs::rename(&lost, &own).expect("moved");

    let prune = ["image", "prune", "out", "--keep", "0", "--yes"];
    bench.gild(prune).succeeds();
    assert!(!bench.path("out/rpi5/two.json").exists());
    bench.gild(verify).succeeds();
    bench.flip("out/rpi5/golden-canary.json", 0);
    bench.gild(prune).fails_saying(&[
        "golden-canary.json cannot be read",
        "nothing was removed",
        "next:",
    ]);
    for wrong in ["Canary", "../a", ""] {
        bench
            .gild(["image", "current", "out", "one", "--channel", wrong])
            .fails_saying(&["a channel has 1 to 32 lower-case letters"]);
    }
}

#[test]
fn old_images_go_when_it_is_confirmed_and_the_current_one_never() {
    let bench = three();
    let all = bench.names("out/rpi5");
    let shown = bench
        .gild(["image", "prune", "out", "--keep", "1"])
        .succeeds();
    assert!(shown.stdout.starts_with("one  "), "{}", shown.stdout);
    assert!(shown.stderr.contains("next: add --yes"), "{}", shown.stderr);
    assert_eq!(bench.names("out/rpi5"), all);

    bench
        .gild(["image", "prune", "out", "--keep", "1", "--yes"])
        .succeeds();
    let left = bench.names("out/rpi5");
    assert!(
        !left.iter().any(|name| name.starts_with("one.")),
        "{left:?}"
    );
    let kept = all.iter().filter(|name| !name.starts_with("one."));
    assert!(kept.eq(&left), "{left:?}");

    // An older image is current: the newer one is what goes.
    bench
        .gild(["image", "current", "out", "two", "--key", "signing.key"])
        .succeeds();
    bench
        .gild(["image", "prune", "out", "--keep", "0", "--yes"])
        .succeeds();
    bench
        .gild(["image", "verify", "out", "--key", "signing.pub"])
        .succeeds();
    assert_eq!(current(&bench).0, "two");
    assert!(!bench.path("out/rpi5/three.json").exists());
    let ran = bench
        .gild(["image", "prune", "out", "--keep", "0", "--yes"])
        .succeeds();
    assert_eq!(ran.stdout, "");
}

#[test]
fn what_cannot_be_understood_stays_and_a_removal_cut_short_is_finished() {
    let bench = three();
    bench.flip("out/rpi5/two.json", 0);
    // A removal that ended before its last file.
    bench
        .shell("cd out/rpi5 && rm one.img.zst one.bmap one.sha256 one.json.minisig")
        .succeeds();
    let ran = bench
        .gild(["image", "prune", "out", "--keep", "5", "--yes"])
        .succeeds();
    assert!(ran.stderr.contains("image two stays"), "{}", ran.stderr);
    assert!(bench.path("out/rpi5/two.img.zst").exists());
    assert!(!bench.path("out/rpi5/one.json").exists());

    bench.flip("out/rpi5/golden.json", 0);
    bench
        .gild(["image", "prune", "out", "--keep", "0", "--yes"])
        .fails_saying(&["no current image", "nothing was removed", "next:"]);
    assert!(bench.path("out/rpi5/three.img.zst").exists());

    // Of two boards, one has no current image: nothing goes from the other, either.
    bench
        .shell("mkdir -p two && cp -a out/rpi5 two/rock5b")
        .succeeds();
    let good = three();
    let from = good.path("out/rpi5");
    bench
        .shell(&format!("cp -a {} two/rpi5", from.display()))
        .succeeds();
    let before = bench.names("two/rpi5");
    bench
        .gild(["image", "prune", "two", "--keep", "0", "--yes"])
        .fails_saying(&["two/rock5b has no current image"]);
    assert_eq!(bench.names("two/rpi5"), before);
}

/// `three` in the folder of a desk with one node.
fn three_on_a_desk() -> Bench {
    let bench = three();
    let token = "K1072b45d7512215efce211384f6fcdbaa93e621b8cd01b8c0c69484c14b289ca51::node:s3cret";
    fs::write(bench.path("token"), token).expect("a file");
    let address = ["--address", "127.0.0.1"];
    let cluster = ["--k3s-url", "https://k3s.invalid:6443"];
    let token = ["--k3s-token-file", "token"];
    let init = [["init", "desk"], address, cluster, token].concat();
    bench.gild(init).succeeds();
    bench
        .gild(["node", "add", "desk", "--mac", MAC, "--name", "node-1"])
        .succeeds();
    bench.shell("mv out/rpi5 desk/images/").succeeds();
    bench
}

const MAC: &str = "d8:3a:dd:01:02:03";

/// Makes a draft that names the image, and gives its id.
fn order(bench: &Bench, image: &str, more: &[&str]) -> String {
    let action = ["order", "new", "desk", "--action", "flash"];
    let about = ["--node", MAC, "--image", image];
    let ran = bench.gild([&action[..], &about, more].concat()).succeeds();
    let file = ran.stdout.trim().rsplit('/').next().expect("a file");
    file.trim_end_matches(".json").to_owned()
}

#[test]
fn an_image_that_an_order_names_stays_until_the_order_is_over() {
    let bench = three_on_a_desk();
    bench.shell("ln -s desk/images link").succeeds();
    let signed = order(&bench, "one", &[]);
    bench.gild(["order", "sign", "desk", "--yes"]).succeeds();
    let queued = order(&bench, "two", &["--rolling"]);
    let stays =
        |image: &str, id: &str| format!("image {image} stays, because the order {id} names it");
    for folder in ["desk/images", "desk/images/rpi5", "link", "link/rpi5"] {
        let ran = bench
            .gild(["image", "prune", folder, "--keep", "0", "--yes"])
            .succeeds();
        assert_eq!(ran.stdout, "", "{folder}");
        for line in [stays("one", &signed), stays("two", &queued)] {
            assert!(ran.stderr.contains(&line), "{folder}: {}", ran.stderr);
        }
    }
    let verify = [
        "image",
        "verify",
        "desk/images/rpi5/one.json",
        "--key",
        "signing.pub",
    ];
    bench.gild(verify).succeeds();

    bench.gild(["order", "cancel", "desk", &queued]).succeeds();
    let prune = ["image", "prune", "desk/images", "--keep", "0", "--yes"];
    let ran = bench.gild(prune).succeeds();
    assert!(ran.stdout.starts_with("two  "), "{}", ran.stdout);
    assert!(bench.path("desk/images/rpi5/one.json").exists());
    bench.gild(["order", "cancel", "desk", &signed]).succeeds();
    let ran = bench.gild(prune).succeeds();
    assert!(ran.stdout.starts_with("one  "), "{}", ran.stdout);
}

#[test]
fn no_image_of_a_desk_goes_while_one_of_its_orders_cannot_be_read() {
    let bench = three_on_a_desk();
    let prune = ["image", "prune", "desk/images", "--keep", "0", "--yes"];
    let id = order(&bench, "three", &[]);
    let before = bench.names("desk/images/rpi5");
    let file = bench.path(&format!("desk/orders/{id}.order"));
    fs::write(&file, "half an ord").expect("a file");
    let says = format!("the order {id} cannot be read");
    let next = "next: correct that, or take the order back: gild order cancel ";
    bench
        .gild(prune)
        .fails_saying(&[&says, "nothing was removed", next]);
    fs::remove_file(&file).expect("removed");
    bench
        .shell("mv desk/orders desk/aside && touch desk/orders")
        .succeeds();
    bench
        .gild(prune)
        .fails_saying(&["cannot read", "nothing was removed", "next: "]);
    assert_eq!(bench.names("desk/images/rpi5"), before);

    // What it was cannot count any more.
    bench.shell("rm desk/orders && mkdir desk/orders && echo half >desk/orders/20260101T000000Z-1a2b3c.order").succeeds();
    bench.gild(prune).succeeds();
    assert_ne!(bench.names("desk/images/rpi5"), before);
}
