//! `gild firmware`, as an operator uses it. The files are stand-ins for the vendors', made from the documented formats
//! and with U-Boot's own tools; no vendor's program is in them.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};

use common::{Bench, Ran};
use gild_boards_testkit::{FitSettings, MAINLINE, ROCK5B, Workshop, sha256};
use serde_json::Value;

const CONFIG: &str = "[all]\nBOOT_UART=1\nBOOT_ORDER=0xf416\nPCIE_PROBE=1\n";

fn bench() -> Bench {
    let bench = Bench::new();
    fs::write(
        bench.path("pieeprom.bin"),
        gild_boards_testkit::eeprom_2712(),
    )
    .expect("a file");
    fs::write(bench.path("boot.conf"), CONFIG).expect("a file");
    bench
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
}

const SET: [&str; 8] = [
    "firmware",
    "rpi-eeprom",
    "set",
    "pieeprom.bin",
    "--config",
    "boot.conf",
    "--out",
    "pieeprom.upd",
];

#[test]
fn a_new_configuration_gives_the_vendor_s_bytes_and_a_signature_that_fits() {
    let bench = bench();
    bench.gild(SET).succeeds();
    let digest = "74df175f7ba695ca577d8b2cb3fb6735fbdec8f6a3c97d778817ecce7b1404cc";
    assert_eq!(sha256(&bench.bytes("pieeprom.upd")), digest);
    assert_eq!(
        bench.bytes("pieeprom.bin"),
        gild_boards_testkit::eeprom_2712()
    );
    let signature = String::from_utf8(bench.bytes("pieeprom.sig")).expect("text");
    let (first, second) = signature.split_once('\n').expect("two lines");
    assert_eq!(first, digest);
    assert!(
        second
            .strip_prefix("ts: ")
            .is_some_and(|time| time.trim().parse::<u32>().is_ok())
    );
    bench
        .shell("echo \"$(head -1 pieeprom.sig)  pieeprom.upd\" | sha256sum -c")
        .succeeds();

    let ran = bench
        .gild(
            SET.into_iter()
                .chain(["--timestamp", "1750000000", "--json"]),
        )
        .succeeds();
    let digest = "a1505b741532c00a05e15b2a45615d17695ab07616e255081c0c06147dbf62ef";
    assert_eq!(json(&ran)["sha256"], digest);
    assert_eq!(
        json(&ran)["boot_order"],
        "0xf416 (NVMe, SD card, USB, again)"
    );
    assert_eq!(sha256(&bench.bytes("pieeprom.upd")), digest);
    assert_eq!(
        bench.bytes("pieeprom.sig"),
        format!("{digest}\nts: 1750000000\n").into_bytes()
    );
    assert_eq!(
        fs::metadata(bench.path("pieeprom.upd"))
            .expect("a file")
            .mode()
            & 0o777,
        0o644
    );
}

#[test]
fn the_time_of_a_reproducible_build_goes_into_the_signature() {
    let bench = bench();
    let mut command = bench.command();
    Ran::of(command.args(SET).env("SOURCE_DATE_EPOCH", "1767312000")).succeeds();
    let signature = String::from_utf8(bench.bytes("pieeprom.sig")).expect("text");
    assert!(signature.ends_with("\nts: 1767312000\n"), "{signature}");
    let mut command = bench.command();
    Ran::of(command.args(SET).env("SOURCE_DATE_EPOCH", "today"))
        .fails_saying(&["SOURCE_DATE_EPOCH=today"]);
}

#[test]
fn an_input_is_never_overwritten() {
    let bench = bench();
    let before = bench.bytes("pieeprom.bin");
    let set_to = |out: &str| {
        let mut args = SET;
        args[7] = out;
        bench.gild(args)
    };
    set_to("pieeprom.bin").fails_saying(&["pieeprom.bin is the input itself"]);
    set_to("./pieeprom.bin").fails_saying(&["is the input itself"]);
    set_to("boot.conf").fails_saying(&["is the input itself"]);
    symlink("pieeprom.bin", bench.path("link")).expect("a link");
    set_to("link").fails_saying(&["is the input itself"]);
    fs::hard_link(bench.path("pieeprom.bin"), bench.path("hard")).expect("a link");
    set_to("hard").fails_saying(&["is the input itself"]);
    fs::create_dir(bench.path("folder")).expect("a folder");
    set_to("folder").fails_saying(&["folder is not a file; next: "]);
    set_to("/dev/null").fails_saying(&["/dev/null is not a file; next: "]);
    set_to("pieeprom.sig").fails_saying(&["is the name of a signature"]);
    set_to("missing/pieeprom.upd")
        .fails_saying(&["the folder of missing/pieeprom.upd is not there; next: "]);
    // The signature of the input has the name that the new one would get.
    let theirs = format!("{}\nts: 1\n", sha256(&before));
    fs::write(bench.path("pieeprom.sig"), &theirs).expect("a file");
    set_to("pieeprom.upd").fails_saying(&["pieeprom.sig is the signature of pieeprom.bin"]);
    assert_eq!(bench.bytes("pieeprom.sig"), theirs.as_bytes());
    assert_eq!(bench.bytes("pieeprom.bin"), before);
    assert_eq!(bench.bytes("boot.conf"), CONFIG.as_bytes());
    assert!(!bench.path("pieeprom.upd").exists());
    let left = bench.names(".");
    assert!(
        left.iter().all(|name| !name.starts_with(".tmp")),
        "{left:?}"
    );
}

#[test]
fn an_eeprom_image_that_must_not_be_changed_is_refused_with_the_reason() {
    let bench = bench();
    let refused = |image: &[u8], words: &[&str]| {
        fs::write(bench.path("pieeprom.bin"), image).expect("a file");
        bench.gild(SET).fails_saying(words);
        assert!(!bench.path("pieeprom.upd").exists() && !bench.path("pieeprom.sig").exists());
    };
    refused(
        b"",
        &["pieeprom.bin is not a whole EEPROM image", "2097152"],
    );
    refused(
        &gild_boards_testkit::eeprom_2712()[..1 << 20],
        &["1048576 bytes are not the size of a boot EEPROM image"],
    );
    let mut live = gild_boards_testkit::eeprom_ab();
    live[0x1f_e000] = 0;
    refused(&live, &["take an image as Raspberry Pi publishes it"]);
    let good = gild_boards_testkit::eeprom_2712();
    fs::write(bench.path("boot.conf"), "#".repeat(4073)).expect("a file");
    refused(&good, &["boot.conf has 4073 bytes", "4072"]);
    fs::write(bench.path("boot.conf"), [0; 10]).expect("a file");
    refused(&good, &["boot.conf is not a text"]);
    fs::remove_file(bench.path("boot.conf")).expect("removed");
    refused(&good, &["the file boot.conf is not there; next: "]);
}

#[test]
fn inspect_names_every_kind_of_file() {
    let bench = bench();
    let shop = Workshop::new();
    let fit = shop.fit(&Workshop::u_boot(MAINLINE), ROCK5B, &FitSettings::default());
    let environment = "bootcmd=bootflow scan -lb\nbootdelay=0\n";
    shop.write("env.txt", environment);
    shop.run("mkenvimage", ["-s", "0x2000", "-o", "env", "env.txt"]);
    shop.run(
        "mkenvimage",
        ["-r", "-s", "0x2000", "-o", "env2", "env.txt"],
    );
    shop.write("boot.cmd", "bootflow scan -b nvme\n");
    shop.run(
        "mkimage",
        [
            "-A", "arm64", "-T", "script", "-C", "none", "-d", "boot.cmd", "boot.scr",
        ],
    );
    let signature = format!("{}\nts: 1\n", sha256(b""));
    for (bytes, kind, boards) in [
        (
            gild_boards_testkit::eeprom_2712(),
            "Raspberry Pi EEPROM image",
            &["rpi5"][..],
        ),
        (
            gild_boards_testkit::eeprom_ab(),
            "Raspberry Pi EEPROM image",
            &["rpi5"],
        ),
        (
            gild_boards_testkit::eeprom_2711(),
            "Raspberry Pi EEPROM image",
            &[],
        ),
        (signature.into_bytes(), "Raspberry Pi EEPROM signature", &[]),
        (shop.spi(&fit), "U-Boot for RK3588, SPI flash", &["rock5b"]),
        (shop.card(&fit), "U-Boot for RK3588, SD card", &["rock5b"]),
        (shop.id_block(), "Rockchip ID block", &[]),
        (fit.clone(), "U-Boot FIT", &[]),
        (shop.read("board.dtb"), "device tree", &[]),
        (shop.read("env"), "U-Boot environment", &[]),
        (shop.read("env2"), "U-Boot environment", &[]),
        (shop.read("boot.scr"), "U-Boot boot script", &[]),
    ] {
        fs::write(bench.path("file"), &bytes).expect("a file");
        let ran = bench
            .gild(["firmware", "inspect", "file", "--json"])
            .succeeds();
        let said = json(&ran);
        assert_eq!(said["kind"], kind);
        assert_eq!(said["whole"], true, "{kind}");
        assert_eq!(said["boards"], Value::from(boards), "{kind}");
        assert_eq!(said["sha256"], sha256(&bytes));
        assert_eq!(said["size"], bytes.len());
        let plain = bench.gild(["firmware", "inspect", "file"]).succeeds();
        assert!(plain.stdout.contains(kind), "{}", plain.stdout);
    }
}

/// The vendor's program has no published format: nothing more is said than its texts say.
#[test]
fn inspect_says_of_a_recovery_bin_what_its_texts_say() {
    let bench = bench();
    let line = "RPi: BOOTSYS release VERSION:086b83e3 DATE: 2026/05/26 TIME: 16:01:25";
    let mut program = gild_boards_testkit::pattern(100_000);
    program[5000..5000 + line.len()].copy_from_slice(line.as_bytes());
    program[5000 + line.len()] = 0;
    let inspect = |program: &[u8]| {
        fs::write(bench.path("recovery.bin"), program).expect("a file");
        let ran = bench.gild(["firmware", "inspect", "recovery.bin", "--json"]);
        json(&ran.succeeds())
    };
    let said = inspect(&program);
    let kind = said["kind"].as_str().expect("a kind");
    assert!(kind.starts_with("program of the Raspberry Pi's firmware"));
    assert_eq!(said["says"], line);
    assert_eq!(said["built"], "2026-05-26");
    assert_eq!(said["build_timestamp"], 1_779_811_285);
    let whole = said["whole"].as_str().expect("no yes and no no");
    assert!(whole.starts_with("unknown"), "{whole}");
    program[9000..9012].copy_from_slice(b"pieeprom.upd");
    let said = inspect(&program);
    assert_eq!(
        said["kind"],
        "Raspberry Pi recovery.bin, by the texts in it"
    );
}

#[test]
fn inspect_says_what_the_operator_wants_to_know() {
    let bench = bench();
    bench
        .gild(SET.into_iter().chain(["--timestamp", "1750000000"]))
        .succeeds();
    let said = json(
        &bench
            .gild(["firmware", "inspect", "pieeprom.upd", "--json"])
            .succeeds(),
    );
    assert_eq!(said["chip"], "bcm2712");
    assert_eq!(said["nvme_first"], true);
    assert_eq!(said["config"], CONFIG);
    assert_eq!(said["update_timestamp"], 1_750_000_000);
    assert_eq!(said["signed"], false);

    let shop = Workshop::new();
    fs::write(bench.path("spi.bin"), shop.rock5b_spi(MAINLINE)).expect("a file");
    let said = json(
        &bench
            .gild(["firmware", "inspect", "spi.bin", "--json"])
            .succeeds(),
    );
    assert_eq!(said["compatible"], Value::from(vec!["radxa,rock-5b"]));
    assert_eq!(said["boot_targets"], MAINLINE);
    assert_eq!(said["nvme_first"], false);
}

#[test]
fn inspect_fails_where_a_file_is_damaged_or_unknown() {
    let bench = bench();
    let shop = Workshop::new();
    let spi = shop.rock5b_spi(MAINLINE);
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 0xff;
        bytes
    };
    for (bytes, kind, problem) in [
        (
            gild_boards_testkit::eeprom_2712()[..1 << 20].to_vec(),
            "Raspberry Pi EEPROM image",
            "1048576 bytes",
        ),
        (
            flipped(&gild_boards_testkit::eeprom_2712(), 0x1000),
            "Raspberry Pi EEPROM image",
            "no section begins at 0x1000",
        ),
        (
            spi[..spi.len() - 100].to_vec(),
            "U-Boot for RK3588, SPI flash",
            "should end at",
        ),
        (
            flipped(&spi, 0x8000),
            "U-Boot for RK3588, SPI flash",
            "no Rockchip ID block begins here",
        ),
        (
            flipped(&spi, spi.len() - 50),
            "U-Boot for RK3588, SPI flash",
            "the sha256 of image `fdt-1` differs",
        ),
        (
            spi[..0x6_0000].to_vec(),
            "U-Boot for RK3588, SPI flash",
            "no whole FIT at 0x60000",
        ),
        (
            flipped(&shop.id_block(), 5000),
            "Rockchip ID block",
            "program 1",
        ),
        (Vec::new(), "unknown", "none of the firmware files"),
        (
            gild_boards_testkit::pattern(100_000),
            "unknown",
            "none of the firmware files",
        ),
        (
            vec![0xff; 0x2_0000],
            "unknown",
            "none of the firmware files",
        ),
    ] {
        fs::write(bench.path("file"), bytes).expect("a file");
        let ran = bench.gild(["firmware", "inspect", "file", "--json"]);
        assert_eq!(json(&ran)["kind"], kind);
        assert_eq!(json(&ran)["whole"], false);
        ran.fails_saying(&["file cannot be used", problem]);
    }
    // A file for another Rockchip processor has no such ID block, but says which board it is for.
    fs::write(bench.path("file"), flipped(&spi, 0x8000)).expect("a file");
    let said = json(&bench.gild(["firmware", "inspect", "file", "--json"]));
    assert_eq!(said["compatible"], Value::from(vec!["radxa,rock-5b"]));
    assert_eq!(said["boards"], Value::from(Vec::<Value>::new()));
    bench
        .gild(["firmware", "inspect", "absent"])
        .fails_saying(&["the file absent is not there; next: "]);
    bench
        .gild(["firmware", "inspect", "."])
        .fails_saying(&[". is a folder; next: "]);
    bench.shell("truncate -s 200M large").succeeds();
    bench
        .gild(["firmware", "inspect", "large"])
        .fails_saying(&["too large for a firmware file"]);
}

#[test]
fn the_boot_order_in_u_boot_is_changed_for_flash_and_card() {
    let bench = bench();
    let shop = Workshop::new();
    let make = |order: &str| shop.fit(&Workshop::u_boot(order), ROCK5B, &FitSettings::default());
    let (before, after) = (make(MAINLINE), make("nvme mmc1 mmc0 scsi usb pxe dhcp spi"));
    let set = [
        "firmware",
        "rk3588",
        "set-boot-targets",
        "u-boot.bin",
        "nvme mmc1 mmc0",
        "--out",
        "new.bin",
    ];
    for (old, new) in [
        (shop.spi(&before), shop.spi(&after)),
        (shop.card(&before), shop.card(&after)),
    ] {
        fs::write(bench.path("u-boot.bin"), &old).expect("a file");
        let said = json(&bench.gild(set.into_iter().chain(["--json"])).succeeds());
        assert_eq!(said["before"], MAINLINE);
        assert_eq!(said["boot_targets"], "nvme mmc1 mmc0 scsi usb pxe dhcp spi");
        assert!(
            bench.bytes("new.bin") == new,
            "as if U-Boot had been built so"
        );
        assert!(bench.bytes("u-boot.bin") == old);
    }
    let mut args = set;
    args[6] = "u-boot.bin";
    bench
        .gild(args)
        .fails_saying(&["u-boot.bin is the input itself"]);
    args = set;
    args[4] = "nvme sata";
    bench
        .gild(args)
        .fails_saying(&["cannot boot from `sata`", MAINLINE]);
    args[4] = " ";
    bench.gild(args).fails_saying(&["an empty boot order"]);
    args[3] = "pieeprom.bin";
    bench
        .gild(args)
        .fails_saying(&["pieeprom.bin is not a whole U-Boot for the RK3588"]);
}

#[test]
fn variables_are_read_and_set_as_fw_printenv_sees_them() {
    let bench = bench();
    let shop = Workshop::new();
    shop.write(
        "env.txt",
        "bootcmd=bootflow scan -lb\nbootdelay=2\nboot_targets=mmc1 nvme\n",
    );
    shop.run("mkenvimage", ["-s", "0x2000", "-o", "env", "env.txt"]);
    let flash = [vec![0xff; 0x1000], shop.read("env"), vec![0xff; 0x1000]].concat();
    fs::write(bench.path("flash"), &flash).expect("a file");
    let place = ["--offset", "0x1000", "--size", "8192"];
    let run = |args: &[&str]| bench.gild([&["firmware", "uboot-env"], args, &place].concat());
    assert_eq!(run(&["get", "flash", "bootdelay"]).succeeds().stdout, "2\n");
    let all = run(&["get", "flash", "--json"]).succeeds();
    assert_eq!(json(&all)["boot_targets"], "mmc1 nvme");
    run(&["get", "flash", "nothing"]).fails_saying(&["flash has no variable nothing"]);
    run(&[
        "set",
        "flash",
        "boot_targets=nvme mmc1",
        "bootdelay=",
        "x=a=b",
        "--out",
        "new",
    ])
    .succeeds();
    let new = bench.bytes("new");
    assert_eq!(new.len(), flash.len());
    assert_eq!(new[..0x1000], flash[..0x1000]);
    assert_eq!(new[0x3000..], flash[0x3000..]);
    let config = format!("{} 0x1000 0x2000 0x1000\n", bench.path("new").display());
    fs::write(bench.path("fw_env.config"), config).expect("a file");
    fs::write(bench.path("empty"), "").expect("a file");
    let printed = bench
        .tool("fw_printenv", &["-c", "fw_env.config", "-f", "empty"])
        .succeeds();
    let mut seen: Vec<&str> = printed.stdout.lines().collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            "boot_targets=nvme mmc1",
            "bootcmd=bootflow scan -lb",
            "x=a=b"
        ]
    );
    run(&["set", "flash", "a=b", "--out", "flash"]).fails_saying(&["flash is the input itself"]);
    run(&["set", "flash", "a", "--out", "other"]).fails_saying(&["`a` is not NAME=VALUE"]);
    let long = format!("a={}", "x".repeat(9000));
    run(&["set", "flash", &long, "--out", "other"]).fails_saying(&["the environment has 8192"]);
    assert!(!bench.path("other").exists());
}

#[test]
fn an_environment_that_is_not_text_is_shown_and_keeps_its_bytes() {
    let bench = bench();
    let block = |order: &str| {
        let mut data = format!("bootcmd=boot\0boot_targets={order}\0").into_bytes();
        data.extend(b"note=f\xfcr\0=x\0alone\0\0");
        data.resize(0x2000 - 4, 0);
        [&crc32fast::hash(&data).to_le_bytes()[..], &data].concat()
    };
    fs::write(bench.path("env"), block("mmc1 nvme")).expect("a file");
    let run = |args: &[&str]| bench.gild([&["firmware"], args].concat());
    let all = run(&["uboot-env", "get", "env"]).succeeds();
    assert_eq!(
        all.stdout,
        "bootcmd=boot\nboot_targets=mmc1 nvme\nnote=f\\xfcr\n"
    );
    let note = run(&["uboot-env", "get", "env", "note", "--json"]).succeeds();
    assert_eq!(json(&note), "f\\xfcr");
    let said = json(&run(&["inspect", "env", "--json"]).succeeds());
    assert_eq!(said["kind"], "U-Boot environment");
    assert_eq!(said["variables"][2], "note=f\\xfcr");
    let order = "boot_targets=nvme mmc1";
    run(&["uboot-env", "set", "env", order, "--out", "new"]).succeeds();
    assert!(bench.bytes("new") == block("nvme mmc1"));
    let mut set = bench.command();
    set.args(["firmware", "uboot-env", "set", "new"])
        .arg(OsStr::from_bytes(b"note=\xe4"))
        .args(["--out", "newer"]);
    Ran::of(&mut set).succeeds();
    let note = run(&["uboot-env", "get", "newer", "note"]).succeeds();
    assert_eq!(note.stdout, "\\xe4\n");
}

#[test]
fn an_environment_that_would_leave_a_board_at_the_prompt_is_not_written() {
    let bench = bench();
    fs::write(bench.path("blank"), [0xff; 0x2000]).expect("a file");
    let set = ["firmware", "uboot-env", "set"];
    let run = |args: &[&str]| bench.gild([&set, args].concat());
    run(&["blank", "boot_targets=nvme", "--out", "new"]).fails_saying(&[
        "no environment can be read from blank: ",
        "; next: give --offset",
        "--defaults",
    ]);
    fs::write(bench.path("u-boot.bin"), Workshop::u_boot(MAINLINE)).expect("a file");
    run(&[
        "blank",
        "boot_targets=nvme",
        "--out",
        "new",
        "--defaults",
        "u-boot.bin",
    ])
    .succeeds();
    let all = bench
        .gild(["firmware", "uboot-env", "get", "new"])
        .succeeds();
    assert_eq!(
        all.stdout,
        "bootcmd=bootflow scan -lb\nbootdelay=2\nboot_targets=nvme\nfdtfile=rockchip/rk3588-rock-5b.dtb\n"
    );
    run(&["new", "bootcmd=", "--out", "newer"]).fails_saying(&["without bootcmd"]);
    run(&["blank", "a=b", "--out", "newer", "--defaults", "boot.conf"])
        .fails_saying(&["boot.conf has no built-in environment"]);
    run(&["blank", "a=b", "--out", "newer", "--size", "0x2001"])
        .fails_saying(&["no environment of 8193 bytes can begin at 0x0"]);
    assert!(!bench.path("newer").exists());
}

#[test]
fn of_two_copies_the_older_one_gives_way() {
    let bench = bench();
    let shop = Workshop::new();
    shop.write("env.txt", "bootcmd=boot\ncopy=first\n");
    shop.run("mkenvimage", ["-r", "-s", "0x1000", "-o", "env", "env.txt"]);
    fs::write(
        bench.path("flash"),
        [shop.read("env"), vec![0xff; 0x1000]].concat(),
    )
    .expect("a file");
    let place = ["--size", "0x1000", "--second", "0x1000"];
    let run = |args: &[&str]| bench.gild([&["firmware", "uboot-env"], args, &place].concat());
    let line = |at: u32| format!("{} {at:#x} 0x1000 0x1000\n", bench.path("new").display());
    fs::write(bench.path("fw_env.config"), line(0) + &line(0x1000)).expect("a file");
    fs::write(bench.path("empty"), "").expect("a file");
    for (round, copy) in ["second", "third", "fourth"].into_iter().enumerate() {
        let value = format!("copy={copy}");
        let said = json(&run(&["set", "flash", &value, "--out", "new", "--json"]).succeeds());
        assert_eq!(said["offset"], if round % 2 == 0 { 0x1000 } else { 0 });
        assert_eq!(run(&["get", "new", "copy"]).succeeds().stdout.trim(), copy);
        let theirs = bench.tool(
            "fw_printenv",
            &["-c", "fw_env.config", "-f", "empty", "-n", "copy"],
        );
        assert_eq!(theirs.succeeds().stdout.trim(), copy);
        // What Linux goes by where the flash is NOR: 1 is in use, 0 is not. It counts in plain files, as here.
        let (mut old, new) = (bench.bytes("flash"), bench.bytes("new"));
        let (kept, written) = if round % 2 == 0 {
            (0, 0x1000)
        } else {
            (0x1000, 0)
        };
        assert_eq!((new[kept + 4], new[written + 4]), (0, 1), "{copy}");
        old[kept + 4] = 0;
        assert!(
            old[kept..][..0x1000] == new[kept..][..0x1000],
            "one copy stays"
        );
        fs::rename(bench.path("new"), bench.path("flash")).expect("renamed");
    }
    run(&["get", "flash", "--offset", "0x800"]).fails_saying(&["the two copies overlap"]);
    // Where U-Boot counts, the number goes on.
    bench.poke("flash", 0x1004, &[7]);
    let said = json(&run(&["set", "flash", "copy=fifth", "--out", "new", "--json"]).succeeds());
    assert_eq!((&said["flag"], bench.bytes("new")[0x1004]), (&8.into(), 7));
}
