//! `gild card`, and what other tools say of a card.
//!
//! The device trees are those of the real kernel in target/kernel. Kernel, agent and firmware files are made up: only
//! their formats are real.

mod common;
#[path = "../../boards/tests/common/mod.rs"]
mod firmware;
#[path = "../../initramfs/tests/support/mod.rs"]
#[allow(dead_code, reason = "only its agent is used here")]
mod support;

use std::fs;
use std::path::Path;

use common::{Bench, MIB, Ran};
use firmware::{FitSettings, MAINLINE, ROCK5B, Workshop, eeprom_2711, eeprom_2712, eeprom_ab};
use serde_json::Value;

const FAT: &str = "card.img@@16M";
const BOARDS: [&str; 2] = ["rpi5", "rock5b"];

/// A folder with everything that `gild card build` takes.
struct Desk {
    bench: Bench,
    workshop: Workshop,
}

impl Desk {
    fn new() -> Self {
        let bench = Bench::new();
        let kernel = bench.path("kernel");
        fs::create_dir_all(kernel.join("modules")).expect("a folder");
        fs::write(kernel.join("version"), "7.0.0-test\n").expect("the version");
        let mut image = vec![0; 100_000];
        image[56..60].copy_from_slice(b"ARM\x64");
        fs::write(kernel.join("vmlinuz"), image).expect("the kernel");
        // All built in.
        let modules = BOARDS.iter().flat_map(|name| &board(name).modules);
        let builtin: String = modules
            .map(|module| format!("kernel/{}.ko\n", module.name))
            .collect();
        for (table, text) in [("dep", ""), ("builtin", builtin.as_str()), ("softdep", "")] {
            fs::write(kernel.join(format!("modules/modules.{table}")), text).expect("a table");
        }
        let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kernel/dtb");
        for path in BOARDS.iter().flat_map(|name| &board(name).dtb) {
            let copy = kernel.join("dtb").join(path);
            fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
            fs::copy(real.join(path), copy)
                .expect("a device tree of target/kernel (`make setup` gets it)");
        }
        fs::write(bench.path("agent"), support::elf()).expect("the agent");
        fs::write(
            bench.path("gild.toml"),
            "server = \"nfs://10.0.2.2/gild\"\n",
        )
        .expect("the configuration");
        let desk = Self {
            bench,
            workshop: Workshop::new(),
        };
        desk.put("pieeprom.bin", versioned(eeprom_2712()));
        desk.put("recovery.bin", common::noise(100_000));
        desk.put("spi.bin", desk.workshop.rock5b_spi(MAINLINE));
        let fit = desk.fit(ROCK5B);
        desk.put("u-boot.bin", desk.workshop.card(&fit));
        desk
    }

    /// A FIT with U-Boot for this board.
    fn fit(&self, compatible: &str) -> Vec<u8> {
        self.workshop.fit(
            &Workshop::u_boot(MAINLINE),
            compatible,
            &FitSettings::default(),
        )
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.bench.path(name), bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    fn build(&self, more: &[&str]) -> Ran {
        let mut args = vec![
            "card",
            "build",
            "--config",
            "gild.toml",
            "--out",
            "card.img",
        ];
        args.extend(["--kernel", "kernel", "--agent", "agent"]);
        args.extend(more);
        self.bench.gild(args)
    }

    /// A card with all that can be on it.
    fn full() -> Self {
        let desk = Self::new();
        let mut args = vec!["--public-key", "signing.pub"];
        args.extend([
            "--rpi-eeprom",
            "pieeprom.bin",
            "--rpi-recovery",
            "recovery.bin",
        ]);
        args.extend(["--rock5b-spi", "spi.bin", "--rock5b-u-boot", "u-boot.bin"]);
        desk.build(&args).succeeds();
        desk
    }

    /// A card with nothing that can be left out.
    fn least() -> Self {
        let desk = Self::new();
        desk.build(&["--public-key", "signing.pub"]).succeeds();
        desk
    }

    fn inspect(&self) -> Ran {
        self.bench.gild(["card", "inspect", "card.img", "--json"])
    }

    /// A file of the card, as mtools read it.
    fn read(&self, path: &str) -> Vec<u8> {
        self.bench
            .tool(
                "mcopy",
                &["-n", "-o", "-i", FAT, &format!("::{path}"), "out"],
            )
            .succeeds();
        self.bench.bytes("out")
    }

    fn text(&self, path: &str) -> String {
        String::from_utf8(self.read(path)).expect("a text")
    }

    /// Replaces a file of the card, as an operator or a node would.
    fn replace(&self, path: &str, bytes: impl AsRef<[u8]>) {
        self.put("in", bytes);
        self.bench
            .tool("mcopy", &["-o", "-i", FAT, "in", &format!("::{path}")])
            .succeeds();
    }
}

fn board(name: &str) -> &'static gild_boards::Board {
    gild_boards::by_name(name).expect("a board")
}

/// An EEPROM image that says when it was built, as every real one does.
fn versioned(mut image: Vec<u8>) -> Vec<u8> {
    let version = b"BUILD_TIMESTAMP=1779807685\0";
    image[0x1_2000..0x1_2000 + version.len()].copy_from_slice(version);
    image
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
    assert!(
        !bench.path("all/extlinux").exists(),
        "U-Boot would take it before the gate"
    );
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
        "os_check=0",
    ] {
        assert!(
            config.lines().any(|found| found == line),
            "{line}: {config}"
        );
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
fn the_pi_s_device_trees_fit_old_firmware_and_have_leds_and_the_boot_configuration() {
    let desk = Desk::least();
    for (name, stepping) in [
        ("bcm2712-rpi-5-b.dtb", "brcm,bcm2712c0-pinctrl"),
        ("bcm2712-d-rpi-5-b.dtb", "brcm,bcm2712d0-pinctrl"),
        ("bcm2712d0-rpi-5-b.dtb", "brcm,bcm2712d0-pinctrl"),
    ] {
        desk.put("edited.dtb", desk.read(name));
        let get = |node: &str, property: &str| {
            desk.bench
                .tool("fdtget", &["-t", "x", "edited.dtb", node, property])
                .succeeds()
                .stdout
                .trim()
                .to_owned()
        };
        let text = |node: &str, property: &str| {
            desk.bench
                .tool("fdtget", &["edited.dtb", node, property])
                .succeeds()
                .stdout
                .trim()
                .to_owned()
        };
        assert_eq!(
            text("/soc@107c000000/pinctrl@7d504100", "compatible"),
            stepping,
            "{name}"
        );
        // What the reference says for a root whose sizes have one cell.
        for (node, property, cells) in [
            ("/", "#size-cells", "1"),
            ("/reserved-memory", "#size-cells", "1"),
            ("/memory@0", "reg", "0 0 28000000"),
            ("/hvs@107c580000", "reg", "10 7c580000 1a000"),
            ("/reserved-memory/atf@0", "reg", "0 0 80000"),
            ("/reserved-memory/linux,cma", "size", "4000000"),
            ("/reserved-memory/linux,cma", "alloc-ranges", "0 0 40000000"),
            ("/reserved-memory/nvram@0", "reg", "0 0 0"),
            ("/soc@107c000000", "#size-cells", "1"),
            ("/soc@107c000000", "ranges", "0 10 0 80000000"),
            ("/axi", "#size-cells", "2"),
        ] {
            assert_eq!(get(node, property), cells, "{name}: {node} {property}");
        }
        assert_eq!(text("/aliases", "blconfig"), "/reserved-memory/nvram@0");
        assert_eq!(
            text("/reserved-memory/nvram@0", "compatible"),
            "raspberrypi,bootloader-config nvmem-rmem"
        );
        let gpio = get("/soc@107c000000/gpio@7d517c00", "phandle");
        assert_eq!(get("/gild-leds/led-act", "gpios"), format!("{gpio} 9 1"));
        assert_eq!(text("/gild-leds/led-act", "label"), "ACT");
        assert_eq!(text("/gild-leds-rp1/led-pwr", "label"), "PWR");
        // No new complaint of dtc but that atf@0 and nvram@0 share an address, as in Raspberry Pi's own tree; and nothing
        // else is changed.
        let original = format!(
            "kernel/dtb/broadcom/{}",
            name.replace("bcm2712d0", "bcm2712-d")
        );
        let complaints = |dtb: &str| {
            let said = desk
                .bench
                .tool("dtc", &["-I", "dtb", "-O", "dts", "-o", "out.dts", dtb])
                .succeeds()
                .stderr;
            said.lines()
                .filter(|line| !line.contains("unique_unit_address"))
                .count()
        };
        assert_eq!(complaints("edited.dtb"), complaints(&original), "{name}");
        let lines = |dtb: &str| {
            let dts = desk
                .bench
                .tool("dtc", &["-q", "-s", "-I", "dtb", "-O", "dts", dtb])
                .succeeds()
                .stdout;
            dts.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let (before, after) = (lines(&original), lines("edited.dtb"));
        let lost = before.iter().filter(|line| !after.contains(line)).count();
        assert!(lost <= 6, "{name}: {lost} lines are gone");
    }
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
    assert_eq!(inspection["rpi5"]["eeprom_built"], 1_779_807_685);
    assert_eq!(inspection["rpi5"]["boot_order"], "0xf416");
    let time = inspection["rpi5"]["update_time"].as_u64().expect("a time");
    assert!(
        (1_779_807_686..1_779_807_686 + 65_536).contains(&time),
        "{time}"
    );
    assert_eq!(inspection["rock5b"]["boot_order"][0], "nvme");
    assert_eq!(inspection["rock5b"]["u_boot_on_card"], true);
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
fn a_wrong_firmware_file_is_refused_by_its_name() {
    let desk = Desk::new();
    let mut damaged = desk.bench.bytes("spi.bin");
    damaged[0x9000] ^= 1;
    let mut cut = desk.bench.bytes("spi.bin");
    cut.truncate(0x5_0000);
    let other = desk
        .workshop
        .spi(&desk.fit("\"radxa,rock-5a\", \"rockchip,rk3588s\""));
    for (option, bytes, words) in [
        ("--rock5b-spi", damaged, "the hash of its"),
        ("--rock5b-spi", cut, "no whole"),
        ("--rock5b-spi", other, "radxa,rock-5a"),
        (
            "--rock5b-spi",
            desk.bench.bytes("u-boot.bin"),
            "no U-Boot that can start a Rock 5B",
        ),
        (
            "--rock5b-spi",
            desk.workshop.rock5b_spi("scsi usb"),
            "cannot boot from `nvme`",
        ),
        (
            "--rock5b-u-boot",
            desk.bench.bytes("spi.bin"),
            "no U-Boot that can start a Rock 5B",
        ),
        (
            "--rpi-eeprom",
            versioned(eeprom_2711()),
            "not for the BCM2712",
        ),
        ("--rpi-eeprom", eeprom_2712(), "BUILD_TIMESTAMP"),
        ("--rpi-eeprom", common::noise(2 * MIB), "no EEPROM image"),
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
            common::noise(100),
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
        .fails_saying(&["cannot read nowhere (--rock5b-spi)"]);
}

#[test]
fn a_configuration_that_a_node_would_refuse_makes_no_card() {
    let desk = Desk::new();
    for (text, words) in [
        ("server = \"nfs://a/b\"\n", "no `public_key` is configured"),
        ("serwer = \"nfs://a/b\"\n", "did you mean `server`?"),
        ("server = nfs\n", "cannot be read: line 1"),
        ("server = \"http://a/b\"\n", "`server` cannot be used"),
        (
            "server = \"nfs://a/b\"\nmatchbox = \"10.0.0.1\"\n",
            "it should be a URL",
        ),
    ] {
        desk.put("gild.toml", text);
        let args: &[&str] = if words.contains("public_key") {
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
fn no_secret_gets_onto_the_card() {
    let desk = Desk::new();
    let server = "server = \"nfs://10.0.2.2/gild\"\n";
    desk.build(&["--public-key", "signing.key"])
        .fails_saying(&["it is a secret key, which stays on the workstation"]);
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
        "no arm64 kernel Image",
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
    build().fails_saying(&[dtb, "it is no device tree"]);
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

#[test]
fn inspect_says_what_is_wrong_with_a_card() {
    let desk = Desk::full();
    desk.bench.shell("mv card.img whole.img").succeeds();
    let wrong = |change: &dyn Fn(&Desk), words: &[&str]| {
        desk.bench.shell("cp whole.img card.img").succeeds();
        change(&desk);
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
    };
    wrong(
        &|desk| desk.bench.poke("card.img", 510, &[0, 0]),
        &["it is no flasher card", "no MBR"],
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
        &["no U-Boot for the Rock 5B"],
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
        &["the digest in pieeprom.sig"],
    );
    wrong(
        &|desk| {
            desk.replace(
                "bcm2712-rpi-5-b.dtb",
                desk.bench.bytes("kernel/dtb/broadcom/bcm2712-rpi-5-b.dtb"),
            )
        },
        &["it lacks what the board"],
    );
    wrong(
        &|desk| desk.replace("config.txt", "kernel=kernel8.img\n"),
        &["the line `kernel=vmlinuz.gz` is missing"],
    );
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
        &["has not all of"],
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

#[test]
fn a_card_is_written_and_read_back() {
    let desk = Desk::full();
    desk.bench.shell("truncate -s 600M device && printf 'old' | dd of=device conv=notrunc bs=1M seek=599 status=none").succeeds();
    let write = |more: &[&str]| {
        let mut args = vec!["card", "write", "card.img", "--device", "device"];
        args.extend(more);
        desk.bench.gild(args)
    };
    write(&["--yes"]).fails_saying(&["device is a regular file: add --allow-file"]);
    write(&["--allow-file"]).fails_saying(&["nobody to ask", "nothing was written"]);
    write(&["--allow-file", "--yes"]).succeeds();
    desk.bench
        .shell("cmp -n 553648128 card.img device")
        .succeeds();
    desk.bench
        .shell("tail -c 1M device | cmp -n 1048576 - /dev/zero")
        .succeeds();
    desk.bench.gild(["card", "inspect", "device"]).succeeds();
}

#[test]
fn only_a_whole_card_is_written_and_only_where_it_fits() {
    let desk = Desk::full();
    desk.bench
        .shell("truncate -s 600M device && truncate -s 500M small")
        .succeeds();
    let write = |image: &str, device: &str| {
        desk.bench.gild([
            "card",
            "write",
            image,
            "--device",
            device,
            "--yes",
            "--allow-file",
        ])
    };
    write("card.img", "small").fails_saying(&["small", "is too small"]);
    write("u-boot.bin", "device").fails_saying(&["u-boot.bin is not written", "no flasher card"]);
    desk.bench
        .shell("head -c 500M card.img > cut.img")
        .succeeds();
    write("cut.img", "device").fails_saying(&["cut.img is not written"]);
    desk.replace("vmlinuz.gz", "half");
    write("card.img", "device").fails_saying(&["card.img is not written", "vmlinuz.gz"]);
    desk.bench
        .shell("cmp -n 629145600 device /dev/zero")
        .succeeds();
    desk.bench
        .gild([
            "card",
            "write",
            "card.img",
            "--device",
            "/dev/null",
            "--yes",
        ])
        .fails_saying(&["not written"]);
}
