//! What makes no card.

use gild_boards::rpi_eeprom::Image;

use crate::common::{self, MIB};
use crate::desk::{Desk, versioned};
use gild_boards_testkit::{eeprom_2711, eeprom_2712};

#[test]
fn a_wrong_firmware_file_is_refused_by_its_name() {
    let desk = Desk::new();
    let mut damaged = desk.bench.bytes("spi.bin");
    damaged[0x9000] ^= 1;
    let mut cut = desk.bench.bytes("spi.bin");
    cut.truncate(0x5_0000);
    let other = desk
        .workshop
        .spi(&desk.fit("\"radxa,rock-5a\", \"rockchip,rk3588s\""));
    let without = desk.fit_without_fatrm();
    let no_fatrm = "lacks the command `fatrm`, without which a Rock 5B never starts an image on trial; next: build U-Boot with";
    for (option, bytes, words) in [
        ("--rock5b-spi", desk.workshop.spi(&without), no_fatrm),
        ("--rock5b-u-boot", desk.workshop.card(&without), no_fatrm),
        ("--rock5b-spi", damaged, "the hash of its"),
        ("--rock5b-spi", cut, "no whole"),
        ("--rock5b-spi", other, "radxa,rock-5a"),
        (
            "--rock5b-spi",
            desk.bench.bytes("u-boot.bin"),
            "not a U-Boot that can start a Rock 5B",
        ),
        (
            "--rock5b-spi",
            desk.workshop.rock5b_spi("scsi usb"),
            "cannot boot from `nvme`",
        ),
        (
            "--rock5b-spi",
            desk.workshop.rock5b_spi("nvme usb"),
            "cannot boot from `mmc1`",
        ),
        ("--rpi-eeprom", with_config(4060), "at most 4072 fit"),
        (
            "--rock5b-u-boot",
            desk.bench.bytes("spi.bin"),
            "not a U-Boot that can start a Rock 5B",
        ),
        (
            "--rpi-eeprom",
            versioned(eeprom_2711()),
            "not for the BCM2712",
        ),
        ("--rpi-eeprom", eeprom_2712(), "BUILD_TIMESTAMP"),
        (
            "--rpi-eeprom",
            common::noise(2 * MIB).to_vec(),
            "not an EEPROM image",
        ),
        (
            "--rpi-recovery",
            versioned(eeprom_2712()),
            "it is an EEPROM image",
        ),
        (
            "--rpi-recovery",
            b"<html>not found</html>".repeat(3000),
            "it is a text",
        ),
        (
            "--rpi-recovery",
            common::noise(100).to_vec(),
            "between 32 KiB and 1 MiB",
        ),
    ] {
        desk.put("wrong.bin", bytes);
        let mut args = vec!["--public-key", "signing.pub", option, "wrong.bin"];
        match option {
            "--rpi-eeprom" => args.extend(["--rpi-recovery", "recovery.bin"]),
            "--rpi-recovery" => args.extend(["--rpi-eeprom", "pieeprom.bin"]),
            _ => {}
        }
        desk.build(&args)
            .fails_saying(&["wrong.bin cannot be used as", option, words]);
        assert!(!desk.bench.path("card.img").exists(), "{option}: {words}");
    }
    desk.build(&["--rpi-eeprom", "pieeprom.bin"])
        .fails_saying(&["--rpi-recovery"]);
    desk.build(&["--public-key", "signing.pub", "--rock5b-spi", "nowhere"])
        .fails_saying(&["the file for --rock5b-spi nowhere is not there; next: "]);
}

/// An EEPROM image whose own configuration has so many bytes.
fn with_config(length: usize) -> Vec<u8> {
    let mut text = b"BOOT_ORDER=0xf416\n".to_vec();
    text.resize(length, b'#');
    let mut image = Image::parse(versioned(eeprom_2712())).expect("an EEPROM image");
    image.set_config(&text).expect("the vendor's tool takes it");
    image.bytes().to_vec()
}

#[test]
fn a_configuration_that_a_node_would_refuse_makes_no_card() {
    let desk = Desk::new();
    for (text, words) in [
        (
            "server = \"nfs://a/b\"\n",
            "no `public_key` is configured; next: give --public-key",
        ),
        ("serwer = \"nfs://a/b\"\n", "did you mean `server`?"),
        ("server = nfs\n", "cannot be read: line 1"),
        ("server = \"ftp://a/b\"\n", "`server` cannot be used"),
        (
            "server = \"http:/192.168.1.10/gild\"\n",
            "; next: write http://, the server and the path",
        ),
        (
            "server = \"nfs://a/b/rpi5/golden.json\"\n",
            "`server` names a manifest; next: ",
        ),
        (
            "server = \"192.168.1.10:/srv/x\"\n",
            "; next: write nfs://192.168.1.10/srv/x",
        ),
        (
            "server = \"nfs://a/b\"\npublic_key = \"RWQ...\"\n",
            "it is not a minisign public key, a line of base64 that starts with RW; next: put the second line of the key's .pub file there",
        ),
        (
            "server = \"nfs://a/b\"\nmatchbox = \"10.0.0.1\"\n",
            "it should be a URL",
        ),
    ] {
        desk.put("gild.toml", text);
        let args: &[&str] = if words.contains("public_key") || text.contains("public_key") {
            &[]
        } else {
            &["--public-key", "signing.pub"]
        };
        desk.build(args)
            .fails_saying(&["gild.toml does not go on a card", words]);
        assert!(!desk.bench.path("card.img").exists(), "{words}");
    }
}

#[test]
fn a_folder_in_the_place_of_a_file_is_said() {
    let desk = Desk::new();
    let key = ["--public-key", "signing.pub"];
    desk.build(&[&key[..], &["--rock5b-spi", "kernel"]].concat())
        .fails_saying(&["the file for --rock5b-spi kernel is a folder; next: give "]);
    desk.build(&["--public-key", "kernel"])
        .fails_saying(&["the public key kernel is a folder; next: give "]);
    let build = |config, kernel, agent| {
        let parts = ["--config", config, "--kernel", kernel, "--agent", agent];
        let args = ["card", "build", "--out", "card.img"].into_iter();
        desk.bench.gild(args.chain(parts).chain(key))
    };
    build("kernel", "kernel", "agent")
        .fails_saying(&["the configuration kernel is a folder; next: give a gild.toml"]);
    build("gild.toml", "agent", "agent")
        .fails_saying(&["the kernel directory agent is not a folder; next: give --kernel DIR"]);
    build("gild.toml", "kernel", "kernel")
        .fails_saying(&["the agent kernel is a folder; next: give --agent FILE"]);
    desk.put("short", "no card");
    desk.bench
        .gild(["card", "inspect", "short"])
        .fails_saying(&["it is too short for a flasher card; next: give "]);
    for args in [
        &["card", "inspect", "kernel"][..],
        &["card", "write", "kernel", "--device", "card.img"],
        &["key", "show", "kernel"],
    ] {
        let ran = desk.bench.gild(args.iter().copied());
        ran.fails_saying(&[" kernel is a folder; next: give "]);
    }
}

#[test]
fn a_server_s_own_certificate_is_no_authority_for_a_card() {
    let desk = Desk::new();
    let request = [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-days", "9",
    ];
    let make = |name: &str, subject: &str| {
        let rest = [
            "-out",
            name,
            "-subj",
            subject,
            "-addext",
            "subjectAltName=DNS:images.example",
        ];
        let rest = if subject.ends_with("authority") {
            &rest[..4]
        } else {
            &rest[..]
        };
        desk.bench
            .tool("openssl", &[&request[..], rest].concat())
            .succeeds();
        String::from_utf8(desk.bench.bytes(name)).expect("PEM")
    };
    let server = "server = \"https://images.example/gild\"\n";
    let of = |pem: &str| format!("{server}ca = \"\"\"\n{pem}\"\"\"\n");
    let build = || desk.build(&["--public-key", "signing.pub"]);
    desk.put("gild.toml", of(&make("own.pem", "/CN=images.example")));
    build().fails_saying(&[
        "gild.toml does not go on a card",
        "it names the server",
        "next: make an authority",
    ]);
    desk.put(
        "gild.toml",
        of("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    );
    build().fails_saying(&["a certificate in `ca` cannot be used"]);
    desk.put("gild.toml", of(&make("ca.pem", "/CN=our own authority")));
    build().succeeds();
}

#[test]
fn what_is_missing_is_named_with_what_to_give() {
    let desk = Desk::new();
    for (name, words) in [
        (
            "gild.toml",
            "the configuration gild.toml is not there; next: ",
        ),
        ("kernel", "the kernel directory kernel is not there; next: "),
        ("agent", "the agent agent is not there; next: "),
        (
            "signing.pub",
            "the public key signing.pub is not there; next: ",
        ),
    ] {
        let (there, away) = (desk.bench.path(name), desk.bench.path("away"));
        std::fs::rename(&there, &away).expect("renamed");
        desk.build(&["--public-key", "signing.pub"])
            .fails_saying(&[words]);
        std::fs::rename(&away, &there).expect("renamed");
    }
    for args in [
        &["card", "inspect", "card.img"][..],
        &["card", "write", "card.img", "--device", "/dev/null"],
    ] {
        desk.bench
            .gild(args.iter().copied())
            .fails_saying(&["the card card.img is not there; next: "]);
    }
}

#[test]
fn of_two_keys_both_places_are_named() {
    let desk = Desk::new();
    desk.bench
        .gild(["key", "new", "--output", "other"])
        .succeeds();
    let shown = desk.bench.gild(["key", "show", "signing.pub"]).succeeds();
    let config = format!("server = \"nfs://a/b\"\n{}", shown.stdout);
    desk.put("gild.toml", config);
    desk.build(&["--public-key", "other.pub"]).fails_saying(&[
        "`public_key` in gild.toml is another key than other.pub (--public-key, PUBLIC_KEY= of `make card`); next: ",
    ]);
}

#[test]
fn no_secret_gets_onto_the_card() {
    let desk = Desk::new();
    let server = "server = \"nfs://10.0.2.2/gild\"\n";
    let ran = desk
        .build(&["--public-key", "signing.key"])
        .fails_saying(&[
            "cannot use the key signing.key: it is a minisign secret key, which stays on the workstation; next: ",
        ]);
    assert_eq!(ran.code, Some(10));
    assert!(!ran.stderr.contains("gild.toml"), "{}", ran.stderr);
    let token = format!("K10{}::node:5ecret", "0123456789abcdef".repeat(4));
    for (line, words) in [
        (format!("# {token}"), "line 2 holds a k3s token"),
        (format!("token = \"{token}\""), "line 2 holds a k3s token"),
        (
            "status_url = \"http://user:5ecret@10.0.2.2/\"".to_owned(),
            "`status_url` holds a user or a password",
        ),
        (
            "matchbox = \"http://user:5ecret@10.0.2.2/\"".to_owned(),
            "`matchbox` holds a user or a password",
        ),
        (
            "matchbox = \"http://10.0.2.2/?token=5ecret\"".to_owned(),
            "`matchbox` has a parameter that is called like a secret",
        ),
        (
            String::from_utf8(desk.bench.bytes("signing.key"))
                .expect("a text")
                .replace("untrusted comment:", "#"),
            "a minisign secret key",
        ),
    ] {
        desk.put("gild.toml", format!("{server}{line}\n"));
        let ran = desk
            .build(&["--public-key", "signing.pub"])
            .fails_saying(&[words]);
        assert!(!ran.stderr.contains("5ecret"), "{}", ran.stderr);
    }
    desk.put("gild.toml", server);
    desk.build(&["--public-key", "signing.pub"]).succeeds();
    let key = String::from_utf8(desk.bench.bytes("signing.key")).expect("a text");
    let secret = &key.lines().nth(1).expect("the key's line")[..40];
    desk.bench
        .tool("grep", &["-caF", secret, "signing.key"])
        .succeeds();
    let ran = desk.bench.tool("grep", &["-caF", secret, "card.img"]);
    assert_eq!(ran.code, Some(1), "the secret key is on the card");
}

#[test]
fn a_kernel_or_a_device_tree_of_another_kind_is_refused() {
    let desk = Desk::new();
    let build = || desk.build(&["--public-key", "signing.pub"]);
    let dtb = "kernel/dtb/broadcom/bcm2712-rpi-5-b.dtb";
    let (kernel, tree) = (desk.bench.bytes("kernel/vmlinuz"), desk.bench.bytes(dtb));
    desk.put("kernel/vmlinuz", vec![0; 1000]);
    build().fails_saying(&[
        "kernel/vmlinuz cannot be started by the boards",
        "not an arm64 kernel Image",
    ]);
    desk.put("kernel/vmlinuz", kernel);
    desk.put(
        dtb,
        desk.bench.bytes("kernel/dtb/rockchip/rk3588-rock-5b.dtb"),
    );
    build().fails_saying(&[
        dtb,
        "it is for `radxa,rock-5b`, not for `raspberrypi,5-model-b`",
    ]);
    desk.put(dtb, &tree[..tree.len() / 2]);
    build().fails_saying(&[dtb, "it is not a device tree"]);
    desk.put(dtb, tree);
    desk.bench
        .tool(
            "fdtput",
            &["-t", "x", dtb, "/memory@0", "reg", "0", "0", "1", "0"],
        )
        .succeeds();
    build().fails_saying(&[dtb, "memory@0 has a size that does not fit into one cell"]);
    desk.bench
        .tool("fdtput", &["-r", dtb, "/aliases"])
        .succeeds();
    desk.bench
        .tool(
            "fdtput",
            &["-t", "x", dtb, "/memory@0", "reg", "0", "0", "0", "1"],
        )
        .succeeds();
    build().fails_saying(&[dtb, "it has no node /aliases"]);
}
