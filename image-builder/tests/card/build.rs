//! What is on a card.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::desk::{Desk, agent_of, versioned};
use gild_boards_testkit::{self as firmware, FitSettings, MAINLINE, ROCK5B, Workshop, eeprom_ab};

/// What an inspection says of one board.
fn report<'a>(inspection: &'a Value, board: &str) -> &'a Value {
    let mut reports = inspection["boards"].as_array().expect("a list").iter();
    reports
        .find(|report| report["board"] == board)
        .expect("a report of each board")
}

#[test]
fn the_same_input_gives_the_same_card() {
    let desk = Desk::full();
    desk.bench.shell("mv card.img again.img").succeeds();
    let mut args = vec![
        "--public-key",
        "signing.pub",
        "--rock5b-u-boot",
        "u-boot.bin",
        "--rock5b-spi",
        "spi.bin",
    ];
    args.extend([
        "--rpi-eeprom",
        "pieeprom.bin",
        "--rpi-recovery",
        "recovery.bin",
    ]);
    desk.build(&args).succeeds();
    desk.bench.shell("cmp card.img again.img").succeeds();
    // Another configuration makes another card, with numbers of its own.
    let numbers = |desk: &Desk| {
        serde_json::from_str::<Value>(&desk.inspect().stdout).expect("JSON")["disk_id"].clone()
    };
    let before = numbers(&desk);
    desk.put("gild.toml", "server = \"nfs://10.0.2.3/gild\"\n");
    desk.build(&["--public-key", "signing.pub"]).succeeds();
    assert_ne!(numbers(&desk), before);
}

#[test]
fn both_boards_find_what_their_firmware_looks_for() {
    let desk = Desk::full();
    let config = desk.text("config.txt");
    for line in [
        "kernel=vmlinuz.gz",
        "initramfs initrd.img followkernel",
        "set_reboot_order=0xf16",
        "bootloader_update=0",
    ] {
        assert!(
            config.lines().any(|found| found == line),
            "{line}: {config}"
        );
    }
    // With the firmware's check a board with another device tree stops with a message and does not start half.
    for key in ["os_check", "dtoverlay"] {
        assert!(!config.contains(key), "{key}: {config}");
    }
    assert_eq!(
        desk.text("cmdline.txt"),
        "console=ttyAMA10,115200 panic=10\n"
    );
    let script = String::from_utf8_lossy(&desk.read("boot.scr")).into_owned();
    assert!(
        script.contains("console=ttyS2,1500000 panic=10"),
        "{script}"
    );
    assert_eq!(
        desk.read("rockchip/rk3588-rock-5b.dtb"),
        desk.bench.bytes("kernel/dtb/rockchip/rk3588-rock-5b.dtb")
    );
    let card = fs::read(desk.bench.path("card.img")).expect("the card");
    let u_boot = desk.bench.bytes("u-boot.bin");
    assert!(
        card[64 * 512..].starts_with(&u_boot),
        "U-Boot stands at sector 64"
    );
}

#[test]
fn firmware_is_made_ready_for_the_node() {
    let desk = Desk::full();
    for (name, wanted) in [("pieeprom.upd", "pieeprom.sig"), ("recovery.bin", "")] {
        let digest = firmware::sha256(&desk.read(&format!("firmware/rpi5/{name}")));
        let list = desk.text("SHA256SUMS");
        assert!(
            list.contains(&format!("{digest}  firmware/rpi5/{name}\n")),
            "{list}"
        );
        if !wanted.is_empty() {
            assert!(
                desk.text(&format!("firmware/rpi5/{wanted}"))
                    .starts_with(&digest)
            );
        }
    }
    assert_eq!(
        desk.read("firmware/rpi5/recovery.bin"),
        desk.bench.bytes("recovery.bin")
    );
    let upd = gild_boards::rpi_eeprom::Image::parse(desk.read("firmware/rpi5/pieeprom.upd"))
        .expect("an EEPROM image");
    assert_eq!(
        upd.config().expect("a configuration"),
        b"[all]\nBOOT_UART=1\nBOOT_ORDER=0xf416\nPCIE_PROBE=1\n"
    );
    let inspection: Value = serde_json::from_str(&desk.inspect().succeeds().stdout).expect("JSON");
    let pi = report(&inspection, "rpi5");
    assert_eq!(pi["boot_firmware"], "rpi-eeprom");
    assert_eq!(pi["eeprom_built"], 1_779_807_685);
    assert_eq!(pi["boot_order"], "0xf416");
    let time = pi["update_time"].as_u64().expect("a time");
    assert!(
        (1_779_807_686..1_779_807_686 + 65_536).contains(&time),
        "{time}"
    );
    let rock = report(&inspection, "rock5b");
    assert_eq!(rock["boot_firmware"], "rk3588-spi");
    assert_eq!(rock["boot_order"][0], "nvme");
    assert_eq!(rock["u_boot_on_card"], true);
    let boards = inspection["boards"].as_array().expect("a list").len();
    assert_eq!(boards, gild_boards::all().len());
    assert_eq!(inspection["missing"], Value::Array(Vec::new()));
    assert_ne!(
        desk.read("firmware/rock5b/u-boot-rockchip-spi.bin"),
        desk.bench.bytes("spi.bin"),
        "the order is changed"
    );
}

#[test]
fn a_boot_order_that_has_the_nvme_first_is_kept_and_an_image_in_two_halves_taken() {
    let desk = Desk::new();
    let mut image =
        gild_boards::rpi_eeprom::Image::parse(versioned(eeprom_ab())).expect("an EEPROM image");
    image
        .set_config(b"# ours\n[all]\nBOOT_ORDER=0xf2416\n")
        .expect("a configuration");
    desk.put("pieeprom.bin", image.bytes());
    desk.put("spi.bin", desk.workshop.rock5b_spi("nvme mmc1 mmc0 usb"));
    let args = [
        "--public-key",
        "signing.pub",
        "--rock5b-spi",
        "spi.bin",
        "--rpi-eeprom",
        "pieeprom.bin",
        "--rpi-recovery",
        "recovery.bin",
    ];
    desk.build(&args).succeeds();
    let upd = gild_boards::rpi_eeprom::Image::parse(desk.read("firmware/rpi5/pieeprom.upd"))
        .expect("an EEPROM image");
    assert_eq!(
        upd.config().expect("a configuration"),
        b"# ours\n[all]\nBOOT_ORDER=0xf2416\nPCIE_PROBE=1\n"
    );
    assert_eq!(
        desk.read("firmware/rock5b/u-boot-rockchip-spi.bin"),
        desk.bench.bytes("spi.bin")
    );
}

/// It has the desk's `status_key`, with which anyone gets a token.
#[test]
fn a_card_image_is_its_owner_s_alone() {
    let desk = Desk::least();
    let image = desk.bench.path("card.img");
    for _ in 0..2 {
        desk.build(&["--public-key", "signing.pub"]).succeeds();
        let mode = fs::metadata(&image).expect("a card").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // An earlier gild made it like this.
        fs::set_permissions(&image, fs::Permissions::from_mode(0o644)).expect("a mode");
    }
}

#[test]
fn a_card_says_the_version_of_its_agent() {
    let desk = Desk::least();
    let agent = |desk: &Desk| {
        let inspection = desk.inspect().succeeds().stdout;
        serde_json::from_str::<Value>(&inspection).expect("JSON")["agent"].clone()
    };
    assert_eq!(agent(&desk), Value::Null, "the stand-in does not say one");
    desk.put("agent", agent_of("1.2.3"));
    desk.build(&["--public-key", "signing.pub"]).succeeds();
    assert_eq!(desk.text("agent.txt"), "1.2.3\n");
    assert!(desk.text("SHA256SUMS").contains("  agent.txt\n"));
    assert_eq!(agent(&desk), "1.2.3");
}

#[test]
fn what_is_missing_is_said_with_its_consequence() {
    let desk = Desk::new();
    let ran = desk.build(&["--public-key", "signing.pub"]).succeeds();
    for words in [
        "Raspberry Pi 5: no firmware files",
        "no image for the boot flash",
        "no U-Boot on the card",
    ] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    let ran = desk.bench.gild(["card", "inspect", "card.img"]).succeeds();
    assert!(
        ran.stdout.contains("remove the card when the disk is done"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("whole            yes"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_loader_for_the_flash_that_the_card_does_not_try_is_told() {
    let desk = Desk::new();
    let args = [
        "--public-key",
        "signing.pub",
        "--rock5b-spi",
        "spi.bin",
        "--rock5b-u-boot",
        "u-boot.bin",
    ];
    let words = "begin with different programs";
    let ran = desk.build(&args).succeeds();
    assert!(!ran.stderr.contains(words), "{}", ran.stderr);
    desk.workshop.write("tpl", b"initializes another memory");
    desk.put("spi.bin", desk.workshop.rock5b_spi(MAINLINE));
    let ran = desk.build(&args).succeeds();
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
}

/// The files of one build differ where binman wrote the place of the FIT.
#[test]
fn two_files_of_one_build_are_not_an_untried_loader() {
    let desk = Desk::new();
    let spl = desk.workshop.read("spl");
    let with = |place: u32| {
        let spl = [&spl[..0x1ee0], &place.to_le_bytes(), &spl[0x1ee4..]].concat();
        desk.workshop.write("spl", spl);
    };
    with(0x6_0000);
    desk.put("spi.bin", desk.workshop.rock5b_spi(MAINLINE));
    with(0x7f_8000);
    let fit = desk.fit(firmware::ROCK5B);
    desk.put("u-boot.bin", desk.workshop.card(&fit));
    let mut args = vec!["--public-key", "signing.pub", "--rock5b-spi", "spi.bin"];
    args.extend(["--rock5b-u-boot", "u-boot.bin"]);
    let ran = desk.build(&args).succeeds();
    let words = "begin with different programs";
    assert!(!ran.stderr.contains(words), "{}", ran.stderr);
}

#[test]
fn a_u_boot_that_nobody_can_look_into_is_taken_with_a_warning() {
    let desk = Desk::new();
    let args = [
        "--public-key",
        "signing.pub",
        "--rock5b-u-boot",
        "u-boot.bin",
    ];
    let ran = desk.build(&args).succeeds();
    assert!(!ran.stderr.contains("fatrm"), "{}", ran.stderr);
    let gzip = FitSettings {
        compression: "gzip",
        ..FitSettings::default()
    };
    let u_boot = Workshop::u_boot(MAINLINE);
    let fit = desk.workshop.fit(&u_boot, ROCK5B, &gzip);
    desk.put("u-boot.bin", desk.workshop.card(&fit));
    let ran = desk.build(&args).succeeds();
    let words = "the image `u-boot` in the U-Boot for the card is compressed (gzip), so gild cannot see whether this U-Boot has the command `fatrm`";
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
}

#[test]
fn a_recovery_bin_that_may_be_too_old_is_reported() {
    let desk = Desk::new();
    desk.put("pieeprom.bin", versioned(eeprom_ab()));
    let mut args = vec!["--public-key", "signing.pub"];
    args.extend(["--rpi-eeprom", "pieeprom.bin"]);
    args.extend(["--rpi-recovery", "recovery.bin"]);
    let (old, earlier) = ("newer parts", "from one release");
    let (none, good) = ("when it was built", "recovery.bin");
    for (date, told, not_told) in [
        ("2025/02/11", &[old, earlier][..], none),
        ("2026/04/14", &[earlier], old),
        ("2026/05/26", &[], good),
        ("unknown", &[none], earlier),
    ] {
        let line = format!("RPi: BOOTSYS release VERSION:086b83e3 DATE: {date} TIME: 00:00:01\0");
        let mut program = firmware::pattern(100_000);
        program[5000..5000 + line.len()].copy_from_slice(line.as_bytes());
        desk.put("recovery.bin", program);
        let ran = desk.build(&args).succeeds();
        for words in told {
            assert!(ran.stderr.contains(words), "{date}: {}", ran.stderr);
        }
        assert!(!ran.stderr.contains(not_told), "{date}: {}", ran.stderr);
    }
}

#[test]
fn a_boot_order_that_never_comes_back_to_the_card_is_not_kept() {
    let desk = Desk::new();
    let mut image =
        gild_boards::rpi_eeprom::Image::parse(versioned(eeprom_ab())).expect("an EEPROM image");
    image
        .set_config(b"[all]\nBOOT_ORDER=0xf6\n")
        .expect("a configuration");
    desk.put("pieeprom.bin", image.bytes());
    desk.put("spi.bin", desk.workshop.rock5b_spi("nvme usb mmc0 mmc1"));
    let mut args = vec!["--public-key", "signing.pub", "--rock5b-spi", "spi.bin"];
    args.extend(["--rpi-eeprom", "pieeprom.bin"]);
    args.extend(["--rpi-recovery", "recovery.bin"]);
    desk.build(&args).succeeds();
    let inspection: Value = serde_json::from_str(&desk.inspect().succeeds().stdout).expect("JSON");
    assert_eq!(report(&inspection, "rpi5")["boot_order"], "0xf416");
    assert_eq!(
        desk.read("firmware/rock5b/u-boot-rockchip-spi.bin"),
        desk.bench.bytes("spi.bin"),
        "the card comes late, but it comes"
    );
}

#[test]
fn other_tools_read_the_card() {
    let desk = Desk::full();
    let bench = &desk.bench;
    let table: Value = serde_json::from_str(
        &bench
            .tool("sfdisk", &["--json", "card.img"])
            .succeeds()
            .stdout,
    )
    .expect("JSON");
    let partitions = table["partitiontable"]["partitions"]
        .as_array()
        .expect("partitions");
    assert_eq!(table["partitiontable"]["label"], "dos");
    assert_eq!(partitions.len(), 1);
    assert_eq!(partitions[0]["start"], 32768);
    assert_eq!(partitions[0]["type"], "c");
    assert_eq!(partitions[0]["bootable"], true);
    bench.tool("fdisk", &["-l", "card.img"]).succeeds();
    // fsck takes no offset.
    bench
        .shell("dd if=card.img of=fat.img bs=1M skip=16 conv=sparse status=none")
        .succeeds();
    let said = bench
        .tool("fsck.vfat", &["-n", "-v", "fat.img"])
        .succeeds()
        .stdout;
    assert!(
        !said.contains("Auto") && !said.contains("Free cluster"),
        "{said}"
    );
    let said = bench
        .tool(
            "blkid",
            &["-p", "-o", "export", "--offset", "16777216", "card.img"],
        )
        .succeeds()
        .stdout;
    for line in ["LABEL=GILD", "TYPE=vfat", "VERSION=FAT32"] {
        assert!(said.lines().any(|found| found == line), "{line}: {said}");
    }
    bench.shell("mkdir all && mcopy -s -n -i card.img@@16M ::/* all && cd all && sha256sum -c --quiet SHA256SUMS").succeeds();
    let said = bench
        .tool("mkimage", &["-l", "all/boot.scr"])
        .succeeds()
        .stdout;
    assert!(said.contains("AArch64 Linux Script"), "{said}");
    bench
        .shell("zstd -dc all/initrd.img | cpio -t --quiet | grep -qx init")
        .succeeds();
    bench
        .shell("gzip -dc all/vmlinuz.gz | cmp - kernel/vmlinuz")
        .succeeds();
    bench
        .shell("cmp all/rockchip/Image kernel/vmlinuz")
        .succeeds();
    assert!(
        !bench.path("all/extlinux").exists(),
        "U-Boot would take it before the gate"
    );
}

#[test]
fn a_card_takes_the_place_of_no_input_and_of_nothing_that_is_not_a_file() {
    let desk = Desk::new();
    let bench = &desk.bench;
    bench
        .shell("ln -s gild.toml soft && ln agent hard && mkfifo pipe && ln -s none dangling")
        .succeeds();
    let inputs = [
        "gild.toml",
        "agent",
        "signing.pub",
        "spi.bin",
        "kernel/vmlinuz",
    ];
    let before = inputs.map(|input| bench.bytes(input));
    let to = |out: &str| {
        let (key, spi) = (["--public-key", "signing.pub"], ["--rock5b-spi", "spi.bin"]);
        let mut args = vec!["card", "build", "--config", "gild.toml", "--out", out];
        args.extend(["--kernel", "kernel", "--agent", "agent"]);
        bench.gild(args.into_iter().chain(key).chain(spi))
    };
    for out in inputs.into_iter().chain(["soft", "hard"]) {
        to(out).fails_saying(&[out, "is the input itself", "next: "]);
    }
    for out in ["pipe", "kernel"] {
        to(out).fails_saying(&[out, "is not a file", "next: "]);
    }
    to("dangling").fails_saying(&["is a link to nothing; next: "]);
    assert!(before == inputs.map(|input| bench.bytes(input)));
    for (out, words) in [("agent", "is the input itself"), ("pipe", "is not a file")] {
        bench
            .gild([
                "initramfs",
                "build",
                "--kernel",
                "kernel",
                "--agent",
                "agent",
                "--output",
                out,
            ])
            .fails_saying(&[out, words, "next: "]);
    }
    assert!(before == inputs.map(|input| bench.bytes(input)));

    // A link to another card leads to it, and stays.
    bench
        .shell("echo old > old.img && ln -s old.img link")
        .succeeds();
    to("link").succeeds();
    assert!(bench.path("link").is_symlink());
    bench.gild(["card", "inspect", "old.img"]).succeeds();
}
