//! Makes the corpus: a few small valid inputs for each target, by the tests' own builders and the stock tools. No vendor's
//! file is in it. `cargo run --manifest-path fuzz/Cargo.toml --example corpus`; the key that signs is a new one each time.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write as _};
use std::path::Path;

use anyhow::{Context, Result};
use gild_boards::rpi_eeprom::Signature;
use gild_boards::uboot_env::{Block, Environment};
use gild_boards::uboot_script::Script;
use gild_boards_testkit::{
    BOOTCODE, CONFIG, FitSettings, LZ4_MODULE, MAINLINE, MODULE, PADDING, ROCK5B, Workshop, file,
    pattern, section,
};
use gild_format::network::{Settings, Static};
use gild_format::record::{Record, State};
use gild_format::{Chunk, Manifest, Partition, Sha256Hex, chunk};
use gild_fuzz::{parts::join, sparse};

/// Writes one input.
fn put(target: &str, name: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes).with_context(|| format!("writing {target}/{name}"))
}

fn main() -> Result<()> {
    format()?;
    network()?;
    card_texts()?;
    eeprom()?;
    let shop = Workshop::new();
    u_boot(&shop)?;
    device_trees(&shop)?;
    disks(&shop)?;
    archives()
}

/// 9 MiB in chunks of 4 MiB, the second one a hole.
fn manifest() -> Manifest {
    let chunk = |raw_offset, raw_length, stored_offset, stored_length, sha256, hole| Chunk {
        raw_offset,
        raw_length,
        stored_offset,
        stored_length,
        sha256,
        hole,
    };
    let zeros = chunk::sha256(&vec![0; 4 << 20]);
    Manifest {
        format_version: 1,
        board: "rpi5".to_owned(),
        image_id: "rpi5-20260102".to_owned(),
        build_time: 1_767_312_000,
        rollback_counter: 3,
        proves_itself: true,
        min_agent_version: "0.1.0".to_owned(),
        raw_size: 9 << 20,
        sector_size: 512,
        chunk_size: 4 << 20,
        stored_file: "rpi5-20260102.img.zst".to_owned(),
        stored_size: 10_000,
        stored_sha256: Sha256Hex([1; 32]),
        partitions: vec![Partition {
            number: 1,
            start: 1 << 20,
            length: 3 << 20,
            kind: "0fc63daf-8483-4772-8e79-3d69d8477de4".to_owned(),
            uuid: "00000000-0000-4000-8000-000000000001".to_owned(),
            name: "root".to_owned(),
        }],
        tools: BTreeMap::from([("gild".to_owned(), "0.1.0".to_owned())]),
        chunks: vec![
            chunk(0, 4 << 20, 0, 1000, Sha256Hex([2; 32]), false),
            chunk(4 << 20, 4 << 20, 1000, 500, zeros, true),
            chunk(8 << 20, 1 << 20, 1500, 8000, Sha256Hex([3; 32]), false),
        ],
    }
}

fn format() -> Result<()> {
    let manifest = manifest();
    manifest.validate()?;
    put("manifest", "image", manifest.to_json())?;

    let key = minisign::KeyPair::generate_unencrypted_keypair()?;
    let sign = |bytes| {
        minisign::sign(
            Some(&key.pk),
            &key.sk,
            Cursor::new(bytes),
            Some("rpi5"),
            None,
        )
    };
    let minisig = sign(b"{}")?.into_string();
    let public = [
        ("line", key.pk.to_base64()),
        ("file", key.pk.to_box()?.into_string()),
    ];
    for (name, key) in public {
        let input = join(&[key.as_bytes(), minisig.as_bytes(), b"{}"]);
        put("signature", name, input)?;
    }

    for (name, state, orders) in [
        ("flashing", State::Flashing, &[][..]),
        ("trial", State::Trial, &["2026-11-01"][..]),
        ("proven", State::Proven, &["2026-11-01", "2026-10-01"][..]),
    ] {
        let record = Record {
            state,
            image_id: manifest.image_id.clone(),
            manifest_sha256: Sha256Hex([7; 32]),
            rollback_counter: 3,
            rollback_floor: 2,
            trial_starts: 1,
            is_discarded: true,
            is_boot_order_pending: state == State::Trial,
            orders: orders.iter().map(|id| (*id).to_owned()).collect(),
        };
        // The target fills it up with zeros.
        put("record", name, &record.to_bytes()[..512])?;
    }

    let vlan = Settings {
        address: Some(Static {
            address: [192, 168, 1, 50].into(),
            prefix: 24,
            gateway: Some([192, 168, 1, 1].into()),
            dns: vec![[192, 168, 1, 1].into(), [9, 9, 9, 9].into()],
        }),
        vlan: Some(100),
        ntp: vec![[192, 168, 1, 2].into()],
    };
    put("network", "vlan", &vlan.to_bytes()[..512])?;

    for (name, raw) in [("text", b"gild ".repeat(800)), ("data", pattern(1000))] {
        let length = u16::try_from(raw.len())?.to_be_bytes();
        let stored = zstd::bulk::compress(&raw, 3)?;
        put("chunk", name, join(&[&length, &stored]))?;
    }
    Ok(())
}

fn network() -> Result<()> {
    let words =
        |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|word| word.to_be_bytes()).collect() };
    let part = "\x01\x00\x0acontent-range: bytes 0-9/200\netag: \"one\"\nretry-after: 7\n";
    put("http_answer", "part", part.as_bytes().to_vec())?;
    let offer = [
        &[53, 1, 2, 54, 4, 192, 0, 2, 1, 51, 4, 0, 0, 0, 60, 1, 4][..],
        &[255, 255, 255, 0, 121, 6, 8, 10, 192, 0, 2, 9, 119, 5, 3],
        b"lan\0\xfe",
        &[53, 1, 5, 54, 4, 192, 0, 2, 1, 0xfe, 53, 1, 6],
    ];
    put("dhcp", "offer_ack_nak", offer.concat())?;
    put("nfs_reply", "mount", words(&[0, 4, 0x6162_6364, 1, 1]))?;
    put("nfs_reply", "lookup", words(&[0, 4, 0x6162_6364, 0, 0]))?;
    put(
        "nfs_reply",
        "read",
        words(&[0, 0, 6, 1, 6, 0x6162_6364, 0x6566_0000]),
    )?;
    put("nfs_reply", "accepted", words(&[7, 1, 0, 0, 0, 0]))?;
    let echo = "REQUEST_QUERY_MAC=d8:3a:dd:01:02:03\n";
    let dedicated = format!("HOSTNAME=node-1\nMAC=d8:3a:dd:01:02:03\nSSH_KEYS_0=a key\n{echo}");
    put("matchbox", "dedicated", dedicated)?;
    put("matchbox", "default", format!("HOSTNAME=any\n{echo}"))?;
    put("matchbox", "mac", "d8:3a:dd:01:02:03\n")
}

const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
const NEXT_KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO4";

fn card_texts() -> Result<()> {
    let full = format!(
        r#"server = "nfs://192.168.1.2:2049/srv/gild?mountport=20048"
public_key = "{KEY}"
next_public_key = "{NEXT_KEY}"
matchbox = "http://192.168.1.2:8080"
status_url = "https://status.example/receipts"
status_key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
min_rollback = 3
[network]
address = "192.168.1.50/24"
gateway = "192.168.1.1"
dns = ["192.168.1.1"]
[network."2c:cf:67:00:00:01"]
vlan = 100
ntp = ["192.168.1.2"]
[target]
serial = "S1"
read_holes = true
[boot_order]
keep = false
[order]
id = "2026-11-01"
nodes = ["d8:3a:dd:12:34:56"]
"#
    );
    put("config", "full", join(&[b"", full.as_bytes()]))?;
    let arguments = format!(
        "quiet gild.server=nfs://[fd00::1]/srv gild.public_key={KEY} gild.network.dns=\"10.0.0.1, 10.0.0.2\" gild.network.address=10.0.0.9/8"
    );
    put("config", "arguments", join(&[arguments.as_bytes(), b""]))?;
    put(
        "config",
        "address",
        join(&[b"", b"nfs://host:1/a/b?mountport=2"]),
    )?;
    put(
        "order",
        "nodes",
        "# ours\n2026-11-01\nD8:3A:DD:12:34:56\n10000000abcdef\n",
    )?;
    put("order", "all", "\u{feff}2026-11-01\r\nall\r\n")?;
    put(
        "gate",
        "both",
        "rpi5=rpi5-20260102\nrock5b=rock5b-20260102\n",
    )?;
    let line = |path| format!("{}  {path}\n", gild_card_format::sums::sha256(b""));
    put("sums", "two", line("config.txt") + &line("boot/a file"))
}

fn eeprom() -> Result<()> {
    // As the testkit's images, with programs that are empty.
    let mut plain = vec![0xff; 2 << 20];
    section(&mut plain, 0, BOOTCODE, 0xff8, b"boot");
    section(
        &mut plain,
        0x1000,
        MODULE,
        0x8_eff8,
        b"\0BUILD_TIMESTAMP=1750000000\0MFG_VER: 1\0",
    );
    file(&mut plain, 0x9_0000, "pubkey.bin", &[0; 264]);
    section(&mut plain, 0x9_0120, PADDING, 0x6ed8, &[]);
    file(&mut plain, 0x9_7000, "bootconf.txt", CONFIG.as_bytes());

    let mut of_pi_4 = vec![0xff; 512 << 10];
    section(&mut of_pi_4, 0, BOOTCODE, 0xff8, b"boot");
    section(&mut of_pi_4, 0x1000, MODULE, 0x1_eff8, b"module");
    section(&mut of_pi_4, 0x2_0000, PADDING, 0xff8, &[]);
    file(&mut of_pi_4, 0x2_1000, "bootconf.txt", CONFIG.as_bytes());

    let unset = *b"\0\0\0\0\xff\xff\xff\xff";
    let mut halves = vec![0xff; 2 << 20];
    section(&mut halves, 0, BOOTCODE, 0xff8, b"boot");
    file(&mut halves, 0x1000, "updatetime", &unset);
    section(&mut halves, 0x1020, PADDING, 0xefd8, &[]);
    section(&mut halves, 0x1_1000, LZ4_MODULE, 0x7_eff8, b"module");
    file(&mut halves, 0x1_0000, "bootsys", &[0; 0xfe8]);
    file(&mut halves, 0x9_0000, "updatetime", &unset);
    section(&mut halves, 0x9_0020, PADDING, 0x6fd8, &[]);
    file(&mut halves, 0x9_7000, "bootconf.txt", CONFIG.as_bytes());
    section(&mut halves, 0x9_7040, PADDING, 0x6_ffb8, &[]);
    section(&mut halves, 0x10_7000, PADDING, 0xf_6ff8, &[]);

    let config = b"[all]\nBOOT_ORDER=0xf416\nPCIE_PROBE=1\n";
    for (name, kind, image) in [
        ("plain", [5], plain),
        ("pi4", [4], of_pi_4),
        ("halves", [5], halves),
    ] {
        gild_boards::rpi_eeprom::Image::parse(image.clone())?;
        put(
            "eeprom",
            name,
            join(&[&kind, config, &sparse::pack(&image, 0xff)]),
        )?;
    }
    let signature = Signature::of(b"image", 1).to_text();
    put("eeprom_signature", "plain", &signature)?;
    put(
        "eeprom_signature",
        "signed",
        signature + "target-soc: 2712\nrsa2048: 00ff\n",
    )?;
    put("eeprom_config", "plain", CONFIG)?;
    let filtered =
        "# ours\r\n[all]\nBOOT_UART=1\n[gpio8=0]\nX=1\n[all]\nBOOT_ORDER=0xf461\nPCIE_PROBE=0";
    put("eeprom_config", "filtered", filtered)?;
    put(
        "eeprom_config",
        "card_text",
        "BOOT_ORDER=0xf16\n[config.txt]\n[all]\nhdmi=1\n",
    )?;
    let texts = b"RPi: BOOTLOADER release VERSION:0123 DATE: 2026/05/26 TIME: 16:01:25\n\0BUILD_TIMESTAMP=1779811285\0pieeprom.upd\0";
    let mut program = vec![0; 4096];
    program[1024..1024 + texts.len()].copy_from_slice(texts);
    put("recovery", "program", sparse::pack(&program, 0))
}

fn u_boot(shop: &Workshop) -> Result<()> {
    let text = "bootcmd=run a\na=b c\nempty=\nbootdelay=0\n";
    put("uboot_env", "text", text)?;
    for (name, flag) in [("plain", None), ("redundant", Some(3))] {
        let environment = Environment::from_text(text)?;
        put(
            "uboot_env",
            name,
            Block { environment, flag }.to_bytes(256, 0)?,
        )?;
    }
    let program = Workshop::u_boot(MAINLINE);
    put("uboot_env", "program", &program[2990..])?;
    let script = Script {
        name: b"gate".to_vec(),
        time: 1_750_000_000,
        text: b"if load mmc 1:1 ${a} gate.env; then\n  env import -t ${a} ${filesize}\nfi\n"
            .to_vec(),
    };
    put("uboot_script", "gate", script.to_bytes()?)?;

    // Short programs: the testkit's take most of a file.
    shop.write("tpl", pattern(500));
    shop.write("spl", pattern(900));
    put("id_block", "two", shop.id_block())?;
    let program = &program[2900..];
    for (name, algorithm, placement) in [
        ("external", "sha256", vec!["-E"]),
        ("embedded", "crc32", vec![]),
    ] {
        let settings = FitSettings {
            algorithm,
            placement,
            ..FitSettings::default()
        };
        put("fit", name, shop.fit(program, ROCK5B, &settings))?;
    }
    put("fit", "compatible", "radxa,rock-5b\0rockchip,rk3588\0")?;
    let fit = shop.fit(program, ROCK5B, &FitSettings::default());
    put("loader", "mainline", sparse::pack(&shop.spi(&fit), 0xff))
}

fn device_trees(shop: &Workshop) -> Result<()> {
    let tree = |source: &str| {
        shop.write("tree.dts", format!("/dts-v1/; / {{ {source} }};"));
        shop.run("dtc", ["-q", "-@", "-O", "dtb", "-o", "tree", "tree.dts"]);
        shop.read("tree")
    };
    let cells = "#address-cells = <2>; #size-cells = <2>;";
    let memory = format!(
        "{cells} memory@0 {{ reg = <0 0 0 0x28000000>; }};
        reserved-memory {{ {cells} ranges; pool {{ size = <0 0x4000000>; alloc-ranges = <0 0 0 0x40000000>; }}; }};"
    );
    put("device_tree", "memory", tree(&memory))?;
    let chips = "gio_aon: gpio@3 { phandle = <3>; }; rp1_gpio: gpio@4 { phandle = <4>; };";
    put("leds", "without", tree(chips))?;
    put(
        "leds",
        "vendors",
        tree("leds { compatible = \"gpio-leds\"; };"),
    )?;
    let pins = |stepping, more| {
        tree(&format!(
            "compatible = \"a,board\", \"a,processor\"; pinctrl: pins {{ compatible = \"brcm,bcm2712{stepping}-pinctrl\"; {more} }};
            one: one {{ link = <&pinctrl>; in-it {{ }}; }};"
        ))
    };
    let (base, other) = (
        pins("c0", "reg = <1 0x30>;"),
        pins("d0", "reg = <1 0x20>; new { };"),
    );
    let overlay = gild_boards::dtbo::between(&base, &other)?;
    put("dtbo", "pins", join(&[&base, &other, &overlay]))
}

fn disks(shop: &Workshop) -> Result<()> {
    let blank = |name: &str, length: usize| shop.write(name, vec![0; length]);
    blank("gpt", 256 << 10);
    let table = "label: gpt\nstart=64, size=64, bootable\nstart=128, size=128\n";
    shop.write("table", table);
    shop.run("sh", ["-c", "/sbin/sfdisk -q gpt <table"]);
    put("gpt", "two", sparse::pack(&shop.read("gpt"), 0))?;

    shop.write("gild.toml", "server = \"nfs://host/srv\"\n");
    shop.write("gate.env", "rpi5=rpi5-20260102\n");
    let fat = |name: &str, length, options: &[&str]| -> Vec<u8> {
        blank(name, length);
        let options = options.join(" ");
        let make = format!(
            "/sbin/mkfs.vfat -n GILD -i 12345678 --invariant {options} {name} >made &&
            mmd -i {name} ::boot && mcopy -i {name} gild.toml gate.env ::boot/ && mcopy -i {name} gild.toml gate.env ::"
        );
        shop.run("sh", ["-c", &make]);
        shop.read(name)
    };
    put(
        "fat",
        "fat12",
        sparse::pack(&fat("fat12", 1 << 20, &["-F", "12"]), 0),
    )?;
    let card = fat("card", 34 << 20, &["-F", "32", "-s", "1"]);
    put("fat", "fat32", sparse::pack(&card, 0))?;
    put("card", "volume", sparse::pack(&card, 0))?;
    let at = 1 << 20;
    let mut whole = vec![0; at];
    whole[..512].copy_from_slice(&gild_card::layout::table(7));
    for (place, bytes) in [(454, at), (458, card.len())] {
        let sectors = u32::try_from(bytes / 512)?;
        whole[place..place + 4].copy_from_slice(&sectors.to_le_bytes());
    }
    whole.extend(card);
    put("card", "whole", sparse::pack(&whole, 0))?;

    shop.run("mkdir", ["-p", "root/etc"]);
    shop.write("root/etc/hostname", "node\n");
    shop.run("ln", ["-sf", "hostname", "root/etc/link"]);
    for (name, options) in [
        ("extents", "^has_journal"),
        ("wide", "^has_journal,64bit,metadata_csum"),
    ] {
        let make = format!(
            "rm -f {name} && /sbin/mke2fs -q -t ext4 -b 1024 -N 24 -m 0 -E hash_seed=00000000-0000-4000-8000-000000000001 \
            -U 00000000-0000-4000-8000-000000000002 -O ^resize_inode,{options} -d root {name} 512k"
        );
        shop.run("sh", ["-c", &make]);
        put("ext4", name, sparse::pack(&shop.read(name), 0))?;
    }
    Ok(())
}

fn archives() -> Result<()> {
    let mut archive = Vec::new();
    for (path, content) in [("init", "#!/bin/sh\n"), ("usr/lib/modules/a.ko", "module")] {
        let mut writer = cpio::newc::Builder::new(path)
            .mode(0o100_644)
            .write(archive, u32::try_from(content.len())?);
        writer.write_all(content.as_bytes())?;
        archive = writer.finish()?;
    }
    let archive = cpio::newc::trailer(archive)?;
    let gzip = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(bytes).and_then(|()| gzip.finish())
    };
    put("initramfs", "plain", &archive)?;
    put(
        "initramfs",
        "gzip",
        [archive.clone(), gzip(&archive)?].concat(),
    )?;
    put("initramfs", "zstd", zstd::bulk::compress(&archive, 3)?)?;
    let mut kernel = vec![0; 64];
    kernel[24] = 2;
    kernel[56..60].copy_from_slice(b"ARM\x64");
    kernel.extend(b"Linux version 6.99.0-test-arm64 (a builder)");
    put("packed", "kernel", &kernel)?;
    put("packed", "gzip", gzip(&kernel)?)?;
    put("packed", "zstd", zstd::bulk::compress(&kernel, 3)?)
}
