//! A card is read back.

use serde_json::Value;

use crate::common::MIB;
use crate::desk::{Desk, FAT};

#[test]
fn the_server_and_the_key_that_a_card_trusts_are_shown() {
    let desk = Desk::least();
    let said = desk
        .bench
        .gild(["card", "inspect", "card.img"])
        .succeeds()
        .stdout;
    let value = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {said}")).trim()
    };
    assert_eq!(value("server "), "nfs://10.0.2.2/gild");
    let file = String::from_utf8(desk.bench.bytes("signing.pub")).expect("a text");
    let (comment, line) = file.trim_end().split_once('\n').expect("two lines");
    let id = comment.rsplit(' ').next().expect("the key's number");
    assert_eq!(value("public key "), format!("{id:0>16} ({line})"));
    assert!(!said.contains("next public key"), "{said}");
}

#[test]
fn both_keys_of_a_card_stay_on_it_and_are_shown() {
    let desk = Desk::new();
    desk.bench
        .gild(["key", "new", "--output", "next"])
        .succeeds();
    let lines = ["signing.pub", "next.pub"].map(|name| {
        let file = String::from_utf8(desk.bench.bytes(name)).expect("a text");
        let (comment, line) = file.trim_end().split_once('\n').expect("two lines");
        let id = comment.rsplit(' ').next().expect("the key's number");
        (format!("{id:0>16}"), line.to_owned())
    });
    let [first, next] = &lines;
    desk.put(
        "gild.toml",
        format!(
            "server = \"nfs://10.0.2.2/gild\"\nnext_public_key = \"{}\"\n",
            next.1
        ),
    );
    desk.build(&["--public-key", "signing.pub"]).succeeds();
    let config = desk.text("gild.toml");
    for (name, line) in [("public_key", &first.1), ("next_public_key", &next.1)] {
        let wanted = format!("{name} = \"{line}\"");
        assert!(config.lines().any(|line| line == wanted), "{config}");
    }
    let said = desk
        .bench
        .gild(["card", "inspect", "card.img"])
        .succeeds()
        .stdout;
    for (name, (id, line)) in [("public key", first), ("next public key", next)] {
        let wanted = format!("{name:<16} {id} ({line})");
        assert!(said.lines().any(|line| line == wanted), "{wanted}: {said}");
    }
    desk.build(&["--public-key", "next.pub"]).fails_saying(&[
        "`next_public_key`",
        "the same key as `public_key`",
        "next: ",
    ]);
}

/// Changes a copy of `whole.img`, and reads in the inspection what is wrong with it.
fn is_wrong(desk: &Desk, change: &dyn Fn(&Desk), words: &[&str]) {
    desk.bench.shell("cp whole.img card.img").succeeds();
    change(desk);
    let ran = desk.inspect();
    assert!(
        ran.code.is_some_and(|code| code != 0 && code != 101),
        "{words:?}: {ran:?}"
    );
    for words in words {
        assert!(
            ran.stdout.contains(words) || ran.stderr.contains(words),
            "{words}: {ran:?}"
        );
    }
}

#[test]
fn inspect_says_what_is_wrong_with_a_card() {
    let desk = Desk::full();
    desk.bench.shell("mv card.img whole.img").succeeds();
    let wrong = |change: &dyn Fn(&Desk), words: &[&str]| is_wrong(&desk, change, words);
    wrong(
        &|desk| desk.bench.poke("card.img", 510, &[0, 0]),
        &[
            "it is not a flasher card",
            "no MBR",
            "; next: give the file that `gild card build` made",
        ],
    );
    wrong(
        &|desk| desk.bench.poke("card.img", 446 + 16 + 4, &[0x0c]),
        &["nothing else"],
    );
    wrong(
        &|desk| desk.bench.poke("card.img", 16 * MIB, &[0; 512]),
        &["file system cannot be read"],
    );
    wrong(
        &|desk| desk.bench.flip("card.img", 64 * 512 + 3000),
        &["the U-Boot at sector 64", "hash"],
    );
    wrong(
        &|desk| desk.bench.poke("card.img", 64 * 512, b"EFI PART"),
        &["not a U-Boot for the Rock 5B"],
    );
    wrong(
        &|desk| desk.replace("vmlinuz.gz", "half"),
        &[
            "vmlinuz.gz is not what SHA256SUMS says",
            "vmlinuz.gz: it cannot be decompressed",
        ],
    );
    wrong(
        &|desk| desk.replace("gild.toml", "server = 1\n"),
        &["gild.toml: "],
    );
    wrong(
        &|desk| desk.replace("firmware/rpi5/pieeprom.sig", "00\n"),
        &["the digest in firmware/rpi5/pieeprom.sig"],
    );
    wrong(
        &|desk| {
            desk.replace(
                "bcm2712-rpi-5-b.dtb",
                desk.bench.bytes("kernel/dtb/broadcom/bcm2712-rpi-5-b.dtb"),
            );
        },
        &["it lacks what the board"],
    );
    wrong(
        &|desk| desk.replace("config.txt", "kernel=kernel8.img\n"),
        &["the line `kernel=vmlinuz.gz` is missing"],
    );
    let config = "kernel=vmlinuz.gz\ninitramfs initrd.img followkernel\n";
    for line in ["os_check=0", "dtoverlay=vc4-kms-v3d-pi5"] {
        wrong(
            &|desk| desk.replace("config.txt", format!("{config}{line}\n")),
            &[&format!("the line `{line}` must not be there")],
        );
    }
    wrong(&|desk| desk.replace("boot.scr", "echo\n"), &["boot.scr: "]);
    wrong(
        &|desk| {
            desk.bench
                .tool("mdel", &["-i", FAT, "::initrd.img"])
                .succeeds();
        },
        &["initrd.img is missing"],
    );
    wrong(
        &|desk| {
            desk.bench
                .tool("mdel", &["-i", FAT, "::firmware/rpi5/recovery.bin"])
                .succeeds();
        },
        &["not all of firmware/rpi5/pieeprom.upd"],
    );
    wrong(
        &|desk| {
            desk.bench
                .tool("mlabel", &["-i", FAT, "::OTHER"])
                .succeeds();
        },
        &["its label is `OTHER`"],
    );
    wrong(
        &|desk| {
            desk.bench
                .tool("mmd", &["-i", FAT, "::extlinux"])
                .succeeds();
            desk.replace("extlinux/extlinux.conf", "label x\n");
        },
        &["U-Boot takes it before boot.scr"],
    );
}

#[test]
fn inspect_says_what_is_wrong_with_the_overlay_for_newer_boards() {
    const OVERLAY: &str = "overlays/bcm2712d0.dtbo";
    let desk = Desk::least();
    desk.bench.shell("mv card.img whole.img").succeeds();
    let remove = |desk: &Desk| {
        let name = format!("::{OVERLAY}");
        desk.bench.tool("mdel", &["-i", FAT, &name]).succeeds();
    };
    let words = "overlays/bcm2712d0.dtbo is missing: a Raspberry Pi 5 with the newer stepping";
    is_wrong(&desk, &remove, &[words]);
    // The devices are right, and the rest of the difference is missing.
    let devices = "compatible = \"brcm,bcm2712d0-pinctrl\"; }; \
        &pinctrl_aon { compatible = \"brcm,bcm2712d0-aon-pinctrl\";";
    for (content, words) in [
        (b"d0".to_vec(), "the overlay is not a device tree"),
        (
            desk.bench
                .bytes("kernel/dtb/broadcom/bcm2712-d-rpi-5-b.dtb"),
            "it is a device tree, but not an overlay",
        ),
        // The vendor's own overlay names what the mainline tree does not have.
        (overlay(&desk, "spi10", ""), "it needs the symbol `spi10`"),
        (
            overlay(&desk, "uart10", ""),
            "it does not make /soc@107c000000/pinctrl@7d504100 the device",
        ),
        (
            overlay(&desk, "pinctrl", devices),
            "it does not give the wanted tree",
        ),
    ] {
        let replace = |desk: &Desk| desk.replace(OVERLAY, &content);
        is_wrong(&desk, &replace, &[OVERLAY, words]);
    }
    // Every board loads the first tree.
    let swap = |desk: &Desk| {
        let trees = ["bcm2712-rpi-5-b.dtb", "bcm2712d0-rpi-5-b.dtb"];
        let [base, newer] = trees.map(|name| desk.read(name));
        desk.replace(trees[0], newer);
        desk.replace(trees[1], base);
    };
    is_wrong(
        &desk,
        &swap,
        &[OVERLAY, "boards with the older one do not start"],
    );
}

/// An overlay with one fragment.
fn overlay(desk: &Desk, symbol: &str, properties: &str) -> Vec<u8> {
    let source = format!("/dts-v1/; /plugin/; &{symbol} {{ {properties} }};");
    desk.put("one.dts", source);
    let arguments = ["-q", "-@", "-O", "dtb", "-o", "one.dtbo", "one.dts"];
    desk.bench.tool("dtc", &arguments).succeeds();
    desk.bench.bytes("one.dtbo")
}

#[test]
fn what_nodes_and_operators_write_leaves_a_card_whole() {
    let desk = Desk::full();
    desk.replace("gild-d83add123456.txt", "done\n");
    desk.replace("gate.env", "rock5b=rock5b-0123456789ab\nrpi5=rpi5-1\n");
    let config = desk.text("gild.toml") + "min_rollback = 3\n";
    desk.replace("gild.toml", config);
    let inspection: Value = serde_json::from_str(&desk.inspect().succeeds().stdout).expect("JSON");
    assert_eq!(
        inspection["gate"],
        serde_json::json!(["rock5b=rock5b-0123456789ab", "rpi5=rpi5-1"])
    );
    let others = inspection["others"].as_array().expect("a list");
    assert!(
        others.contains(&"gild-d83add123456.txt".into()),
        "{others:?}"
    );
}
