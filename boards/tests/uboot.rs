//! U-Boot's environment and boot scripts, against the stock tools.

use std::fs;

use gild_boards::uboot_env::{Block, EnvError, Environment};
use gild_boards::uboot_script::{Script, ScriptError};
use gild_boards_testkit::*;

const TEXT: &str = "bootdelay=0\nboot_targets=nvme mmc1 mmc0\n";

fn block(flag: Option<u8>) -> Block {
    Block {
        environment: Environment::from_text(TEXT).expect("text"),
        flag,
    }
}

#[test]
fn an_environment_is_what_mkenvimage_makes() {
    let shop = Workshop::new();
    shop.write("env.txt", TEXT);
    for (args, flag, fill, digest) in [
        (
            vec!["-p", "0x00"],
            None,
            0,
            "4564d67eb2432a795f3ff9acd1cea6e3f656242024b236e3613f3805fd243e90",
        ),
        (
            vec!["-p", "0xff"],
            None,
            0xff,
            "3ccaee6a8183e141481c181e01d63a8c094145641481031908cc788b75dc7ce1",
        ),
        (
            vec!["-r", "-p", "0x00"],
            Some(1),
            0,
            "d6f4b53f5449bcefad1f6b1099579afdca15da6786c1a57a53f04ba94afd8224",
        ),
    ] {
        let ours = block(flag).to_bytes(0x2000, fill).expect("a block");
        assert_eq!(sha256(&ours), digest);
        run(
            shop.path(),
            "mkenvimage",
            [&["-s", "0x2000", "-o", "env.bin"], &args[..], &["env.txt"]].concat(),
        );
        assert!(shop.read("env.bin") == ours, "{args:?}");
        assert_eq!(Block::parse(&ours), Ok(block(flag)));
    }
}

#[test]
fn fw_printenv_reads_what_is_written_here_and_the_other_way_round() {
    let shop = Workshop::new();
    for flag in [None, Some(1)] {
        let mut ours = block(flag);
        ours.environment
            .set("bootcmd", "bootflow scan -lb; echo a=b")
            .expect("a variable");
        let bytes = ours.to_bytes(0x2000, 0).expect("a block");
        let flash = shop.write("flash", &bytes);
        let other = shop.write("other", vec![0xff; 0x2000]);
        let line = |path: &std::path::Path| format!("{} 0x0 0x2000 0x1000\n", path.display());
        let second = flag.map_or(String::new(), |_| line(&other));
        shop.write("fw_env.config", line(&flash) + &second);
        shop.write("empty", "");
        let printed = shop.run("fw_printenv", ["-c", "fw_env.config", "-f", "empty"]);
        let mut seen: Vec<&str> = printed.lines().collect();
        seen.sort_unstable();
        assert_eq!(
            seen,
            [
                "boot_targets=nvme mmc1 mmc0",
                "bootcmd=bootflow scan -lb; echo a=b",
                "bootdelay=0"
            ]
        );
        shop.run(
            "fw_setenv",
            ["-c", "fw_env.config", "-f", "empty", "bootdelay", "3"],
        );
        let copies = ["flash", "other"].map(|name| Block::parse(&shop.read(name)));
        let newest = match copies {
            [Ok(first), Ok(second)] if first.is_older_than(&second) => second,
            [Ok(first), _] => first,
            [Err(error), _] => panic!("{error}"),
        };
        assert_eq!(
            newest.environment.get("bootdelay"),
            Some(&b"3"[..]),
            "{flag:?}"
        );
        assert_eq!(
            newest.environment.get("bootcmd"),
            ours.environment.get("bootcmd")
        );
    }
}

/// As `fw_printenv` sees it, for all pairs of flags that matter.
#[test]
fn fw_printenv_takes_the_newer_copy() {
    let shop = Workshop::new();
    for (first, second) in [(1, 2), (2, 1), (255, 0), (0, 255), (254, 255), (7, 7)] {
        let copy = |name: &str, flag| {
            let mut copy = block(Some(flag));
            copy.environment.set("copy", name).expect("a variable");
            shop.write(name, copy.to_bytes(0x1000, 0).expect("a block"));
            copy
        };
        let (a, b) = (copy("first", first), copy("second", second));
        let line = |name: &str| format!("{} 0x0 0x1000 0x1000\n", shop.path().join(name).display());
        shop.write("fw_env.config", line("first") + &line("second"));
        shop.write("empty", "");
        let printed = shop.run(
            "fw_printenv",
            ["-c", "fw_env.config", "-f", "empty", "-n", "copy"],
        );
        let ours = if a.is_older_than(&b) {
            "second"
        } else {
            "first"
        };
        assert_eq!(printed.trim(), ours, "{first} {second}");
    }
}

/// A U-Boot of Debian's, as it is.
#[test]
fn the_built_in_environment_of_a_real_u_boot_is_found() {
    let path = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";
    let program =
        fs::read(path).unwrap_or_else(|error| panic!("{path} (make setup installs it): {error}"));
    let environment = Environment::built_into(&program).expect("an environment");
    assert!(
        environment
            .get("bootcmd")
            .is_some_and(|command| !command.is_empty())
    );
    assert!(environment.get("boot_targets").is_some());
    assert!(
        environment
            .get("kernel_addr_r")
            .is_some_and(|at| at.starts_with(b"0x"))
    );
    assert!(
        (15..60).contains(&environment.iter().count()),
        "{environment:?}"
    );
    let block = Block {
        environment,
        flag: None,
    };
    let bytes = block.to_bytes(0x4_0000, 0).expect("a block");
    assert_eq!(Block::parse(&bytes), Ok(block));
}

#[test]
fn a_built_in_environment_is_not_guessed() {
    let stand_in = Workshop::u_boot(MAINLINE);
    let found = Environment::built_into(&stand_in).expect("an environment");
    let names: Vec<&[u8]> = found.iter().map(|(name, _)| name).collect();
    assert_eq!(names.join(&b' '), b"bootcmd bootdelay boot_targets fdtfile");
    assert_eq!(
        Environment::built_into(&[stand_in.clone(), stand_in].concat()),
        None
    );
    assert_eq!(Environment::built_into(&pattern(1000)), None);
    // It begins after the last text that is not a variable.
    for before in [
        "=arm",
        "a word",
        "words of=the program",
        "\u{1}",
        "arch=\u{1}",
    ] {
        let program = format!("{before}\0eth-addr.1#=a\0board_name=b\0bootcmd=boot\0end=c\0\0");
        let found = Environment::built_into(program.as_bytes()).expect("an environment");
        let text = "eth-addr.1#=a\nboard_name=b\nbootcmd=boot\nend=c\n";
        assert_eq!(Ok(found), Environment::from_text(text), "{before:?}");
    }
    let data = b"\0bootcmd=boot\0\xff\xfe\0\0";
    assert_eq!(Environment::built_into(data), None, "other data follow");
    assert_eq!(Environment::built_into(b"\0bootcmd=never ends"), None);
}

#[test]
fn a_damaged_environment_is_refused() {
    let whole = block(None).to_bytes(0x1000, 0).expect("a block");
    assert_eq!(
        Block::parse(&vec![0xff; 0x1000]),
        Err(EnvError::Crc(0x1000))
    );
    assert_eq!(Block::parse(&whole[..0xfff]), Err(EnvError::Crc(0xfff)));
    assert_eq!(Block::parse(&[]), Err(EnvError::Short(0)));
    let least = Block {
        environment: Environment::default(),
        flag: None,
    };
    let bytes = least.to_bytes(5, 0).expect("room for nothing");
    assert_eq!(Block::parse(&bytes), Ok(least));
    for at in [0, 4, 20, 0xfff] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        assert_eq!(Block::parse(&bytes), Err(EnvError::Crc(0x1000)), "{at}");
    }
}

/// U-Boot looks at the checksum alone.
#[test]
fn what_a_right_checksum_covers_is_valid_and_kept_byte_for_byte() {
    let with_data = |data: &[u8]| [&crc32fast::hash(data).to_le_bytes(), data].concat();
    let data = b"note=f\xfcr\0=x\0alone\0boot_targets=mmc1 nvme\0n\xe4me\x01=1\0\0\0\0";
    let mut block = Block::parse(&with_data(data)).expect("valid");
    assert_eq!(block.to_bytes(data.len() + 4, 0), Ok(with_data(data)));
    assert!(block.environment.iter().eq([
        (&b"note"[..], &b"f\xfcr"[..]),
        (b"boot_targets", b"mmc1 nvme"),
        (b"n\xe4me\x01", b"1"),
    ]));
    for name in [&b""[..], b"alone", b"x"] {
        assert_eq!(block.environment.get(name), None, "{name:?}");
    }
    let environment = &mut block.environment;
    environment
        .set("boot_targets", "nvme mmc1")
        .expect("a value");
    environment.set(b"n\xe4me\x01", b"\xff").expect("a value");
    environment.set("alone", "no more").expect("a value");
    environment.remove("note");
    let changed =
        b"=x\0alone=no more\0boot_targets=nvme mmc1\0n\xe4me\x01=\xff\0\0\0\0\0\0\0\0\0\0\0";
    let size = changed.len() + 4;
    assert_eq!(block.to_bytes(size, 0), Ok(with_data(changed)));

    // An environment that fills its block has no room for an end.
    let full = Block::parse(&with_data(b"a=b\0a=c\0b=\0b")).expect("valid");
    assert!(full.environment.iter().eq([(&b"a"[..], &b"c"[..])]));
    assert_eq!(full.environment.get("a"), Some(&b"c"[..]));
    assert_eq!(full.environment.get("b"), None, "a name alone unsets it");
}

#[test]
fn what_no_environment_can_hold_is_refused() {
    let mut environment = Environment::default();
    for name in ["", "a=b", "a\0"] {
        assert_eq!(
            environment.set(name, ""),
            Err(EnvError::Name(name.to_owned()))
        );
    }
    assert_eq!(
        environment.set("a", "\0"),
        Err(EnvError::Value("a".to_owned()))
    );
    assert_eq!(Environment::from_text("a=b\nc"), Err(EnvError::Line(2)));
    environment.set("a", "bc").expect("a variable");
    let block = Block {
        environment,
        flag: None,
    };
    assert_eq!(
        block.to_bytes(9, 0),
        Err(EnvError::TooLong {
            needed: 10,
            size: 9
        })
    );
    assert_eq!(
        Block::parse(&block.to_bytes(10, 0).expect("just fits")),
        Ok(block)
    );
}

#[test]
fn variables_are_changed_in_their_place() {
    let mut environment = Environment::from_text("# ours\n\na=1\nb=2\na=3\n").expect("text");
    environment.set("b", "").expect("a variable");
    environment.set("c", "x=y").expect("a variable");
    let variables: Vec<_> = environment
        .iter()
        .map(|(name, value)| [name, value])
        .collect();
    assert_eq!(variables, [[&b"a"[..], b"3"], [b"b", b""], [b"c", b"x=y"]]);
    environment.remove("a");
    assert_eq!(environment.get("a"), None);
}

fn gate() -> Script {
    Script {
        name: b"flasher".to_vec(),
        time: 0,
        text: b"echo hello\nbootflow scan -b nvme\n".to_vec(),
    }
}

#[test]
fn a_boot_script_is_what_mkimage_makes() {
    let bytes = gate().to_bytes().expect("a script");
    assert_eq!(bytes.len(), 105);
    assert_eq!(
        sha256(&bytes),
        "f24bdce2c1aae6ffdc6bd0d2829e9e0697817159b9b83d2ead344b537c0253db"
    );
    assert_eq!(bytes[4..8], [0xdb, 0x57, 0xe6, 0xfe]);
    assert_eq!(bytes[24..28], [0x61, 0xce, 0xc3, 0x3b]);
    assert_eq!(Script::parse(&bytes), Ok(gate()));

    let shop = Workshop::new();
    let ours = Script {
        time: 1_750_000_000,
        ..gate()
    };
    shop.write("boot.cmd", &ours.text);
    let kind = [
        "-A", "arm64", "-O", "linux", "-T", "script", "-C", "none", "-n", "flasher",
    ];
    run(
        shop.path(),
        "mkimage",
        [&kind[..], &["-d", "boot.cmd", "theirs"]].concat(),
    );
    assert_eq!(shop.read("theirs"), ours.to_bytes().expect("a script"));
    shop.write("ours", bytes);
    let said = shop.run("mkimage", ["-l", "ours"]);
    assert!(said.contains("Image Name:   flasher"), "{said}");
    assert!(
        said.contains("AArch64 Linux Script (uncompressed)"),
        "{said}"
    );
    shop.run(
        "dumpimage",
        ["-T", "script", "-p", "0", "-o", "text", "ours"],
    );
    // It leaves the length of the text before it.
    assert_eq!(shop.read("text")[8..], gate().text);
}

#[test]
fn a_damaged_boot_script_is_refused() {
    let whole = gate().to_bytes().expect("a script");
    let parse = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        Script::parse(&bytes)
    };
    assert_eq!(parse(&|_| {}), Ok(gate()));
    assert_eq!(parse(&|b| b.push(0)), Ok(gate()), "files may be padded");
    assert_eq!(parse(&|b| b[0] = 0), Err(ScriptError::Magic));
    assert_eq!(parse(&|b| b[40] ^= 1), Err(ScriptError::HeaderCrc));
    assert_eq!(parse(&|b| b[80] ^= 1), Err(ScriptError::DataCrc));
    assert_eq!(parse(&|b| b.truncate(104)), Err(ScriptError::Length));
    assert_eq!(parse(&|b| b.truncate(63)), Err(ScriptError::Length));
    assert_eq!(parse(&Vec::clear), Err(ScriptError::Magic));
    // Right checksums do not make up for a text that is not as long as it says.
    let short_text = |b: &mut Vec<u8>| {
        b[67] = 5;
        let data = crc32fast::hash(&b[64..]);
        b[24..28].copy_from_slice(&data.to_be_bytes());
        b[4..8].fill(0);
        let header = crc32fast::hash(&b[..64]);
        b[4..8].copy_from_slice(&header.to_be_bytes());
    };
    assert_eq!(parse(&short_text), Err(ScriptError::Length));
    let long = Script {
        name: vec![b'x'; 33],
        ..gate()
    };
    assert_eq!(long.to_bytes(), Err(ScriptError::Name(33)));
    let longest = Script {
        name: vec![b'x'; 32],
        ..gate()
    };
    let bytes = longest.to_bytes().expect("a name that fills its place");
    assert_eq!(Script::parse(&bytes), Ok(longest));

    let shop = Workshop::new();
    shop.write("kernel", pattern(100));
    shop.run(
        "mkimage",
        ["-A", "arm64", "-T", "kernel", "-d", "kernel", "uImage"],
    );
    assert_eq!(Script::parse(&shop.read("uImage")), Err(ScriptError::Kind));
}
